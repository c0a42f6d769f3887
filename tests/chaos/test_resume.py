"""A search that is stopped at any point goes on, bit for bit, as if it had not been."""

import optuna
import pytest

from tests.chaos.resume import SETTINGS, SHORT, differences, of_searcher


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_next_proposal_is_the_uninterrupted_searchs(name):
    assert differences(of_searcher(name), 0, SHORT.trials) == 0


def test_a_sampler_that_remembers_is_found_out():
    """Optuna's own draws from a generator that lives in the process alone."""
    wrong = differences(lambda seed: optuna.samplers.RandomSampler(seed=seed), 0, SHORT.trials)
    assert wrong == SHORT.trials - 1

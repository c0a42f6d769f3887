"""Advice: that what it recommends is the least that would do."""

from importlib.util import find_spec

import optuna
import pytest

from hpo_gn.advice import advise
from hpo_gn.schedule import Simulation
from hpo_gn.searchers.bohb import BohbSampler


class Choosy(optuna.samplers.RandomSampler):
    """Makes sense from five trials on."""

    def advice(self, rounds):
        count = sum(map(len, rounds))
        return None if count >= 5 else f"only {count} trials in {len(rounds)} rounds"


def nothing(epochs):
    return 0


def threefold(epochs):
    return 3 * epochs


def simulation(sampler, **changes):
    return Simulation(**({"sampler": sampler, "epochs": 4, "round_size": 2} | changes))


def said(simulation, budget, held_back=nothing):
    return advise(simulation, simulation.run(budget - held_back(simulation.epochs)), budget, held_back)


@pytest.mark.parametrize(
    ("budget", "changes", "held_back", "sentence"),
    [
        (20, {}, nothing, None),
        (19, {}, nothing, "only 4 trials in 2 rounds; a budget of at least 20 or --epochs 3"),
        (8, {}, nothing, "only 2 trials in 1 rounds; a budget of at least 20 or --epochs 1"),
        (4, {}, nothing, "only 1 trials in 1 rounds; a budget of at least 20"),
        (16, {"gpus": 2}, nothing, "only 2 trials in 1 rounds; a budget of at least 40 or --epochs 1"),
        (27, {}, threefold, "only 3 trials in 2 rounds; a budget of at least 32 or --epochs 3"),
        (3, {}, nothing, "the budget does not pay a single trial; a budget of at least 4 or --epochs 3"),
    ],
)
def test_names_the_least_budget_and_the_most_epochs_that_would_do(budget, changes, held_back, sentence):
    expected = sentence and f"{sentence} would do"
    assert said(simulation(Choosy(), **changes), budget, held_back) == expected


def test_nothing_is_recommended_where_nothing_helps():
    class Hopeless(optuna.samplers.RandomSampler):
        def advice(self, rounds):
            return "never"

    assert said(simulation(Hopeless()), 100) == "never"


def test_a_sampler_without_an_opinion_gets_no_advice_but_that_nothing_is_paid():
    plain = simulation(optuna.samplers.RandomSampler(), epochs=1)
    assert said(plain, 1) is None
    assert said(plain, 1, lambda epochs: 3) == (
        "the budget does not pay a single trial; a budget of at least 4 would do"
    )


@pytest.mark.skipif(find_spec("hpbandster") is None, reason="hpbandster is not installed")
def test_the_budget_that_bohb_is_said_to_need_is_the_least():
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    bohb = simulation(BohbSampler(search_space=space, min_epochs=1, max_epochs=4, eta=2))
    sentence = said(bohb, 6)
    assert "--epochs" not in sentence
    least = int(sentence.split("a budget of at least ")[1].split()[0])
    assert said(bohb, least - 1) is not None
    assert said(bohb, least) is None

"""A trial's fidelity is read the same from a running trial and a finished one."""

import optuna
import pytest
from optuna.distributions import FloatDistribution

from hpo_gn.fidelity import CONTINUES, EPOCHS, continues, epochs_of

SPACE = {"x": FloatDistribution(0.0, 1.0)}


@pytest.mark.parametrize(
    ("attributes", "epochs", "continued"),
    [
        ({}, 7, None),
        ({EPOCHS: 40}, 40, None),
        ({EPOCHS: 80, CONTINUES: 0}, 80, 0),
        ({EPOCHS: 80, CONTINUES: None}, 80, None),
    ],
)
def test_running_and_finished_trials_say_the_same(
    attributes: dict[str, int | None], epochs: int, continued: int | None
) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    trial = study.ask(SPACE)
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    assert (epochs_of(trial, default=7), continues(trial)) == (epochs, continued)
    frozen = study.tell(trial, 1.0)
    assert (epochs_of(frozen, default=7), continues(frozen)) == (epochs, continued)

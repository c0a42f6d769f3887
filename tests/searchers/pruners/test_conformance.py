"""What every pruner that is offered by name does in anyone's study."""

import math
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.trial import TrialState

from hpo_gn.searchers.pruners.give_up import GiveUpPruner
from hpo_gn.searchers.pruners.one_epoch import OneEpochPruner
from hpo_gn.searchers.pruners.power_law import PowerLawPruner

PYPROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))

EPOCHS = 16
NAN, INF = math.nan, math.inf
PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "give-up": GiveUpPruner,
    "one-epoch": OneEpochPruner,
    "power-law": PowerLawPruner,
    "median": MedianPruner,
    "percentile": lambda: PercentilePruner(25.0),
    "successive-halving": lambda: SuccessiveHalvingPruner(reduction_factor=3),
    "hyperband": lambda: HyperbandPruner(max_resource=EPOCHS),
    "wilcoxon": WilcoxonPruner,
}
SHAPES: dict[str, Callable[[int], float]] = {
    "power law": lambda epoch: 0.5 * epoch**-0.7,
    "a step of the learning rate": lambda epoch: 0.5 * epoch**-0.1 - (0.3 if epoch > 8 else 0.0),
    "over-fitting": lambda epoch: 0.5 * epoch**-0.7 + 0.02 * epoch,
}
ODD: dict[str, dict[int, float]] = {
    "nothing": {},
    "only NaN": dict.fromkeys(range(1, EPOCHS + 1), NAN),
    "NaN at first": {1: NAN} | dict.fromkeys(range(2, EPOCHS + 1), 0.9),
    "NaN in between": dict.fromkeys(range(1, EPOCHS + 1), 0.9) | {5: NAN},
    "infinite": dict.fromkeys(range(1, 6), 0.9) | dict.fromkeys(range(6, EPOCHS + 1), INF),
    "minus infinite": dict.fromkeys(range(1, 6), 0.9) | dict.fromkeys(range(6, EPOCHS + 1), -INF),
    "huge": {epoch: 1e308 / epoch for epoch in range(1, EPOCHS + 1)},
    "few": {3: 0.9, 11: 0.8},
    "one": {7: 0.9},
    "more than others": dict.fromkeys(range(3 * EPOCHS), 0.9),
    "constant": dict.fromkeys(range(1, EPOCHS + 1), 0.9),
}


def test_every_registered_pruner_is_checked():
    assert set(PRUNERS) == set(PYPROJECT["project"]["entry-points"]["hpo_gn.pruners"])


@pytest.fixture(params=PRUNERS)
def pruner(request: pytest.FixtureRequest) -> BasePruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Wilcoxon's
        return PRUNERS[request.param]()


@pytest.fixture(params=["minimize", "maximize"])
def direction(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def curve(quality: float, shape: str) -> dict[int, float]:
    """Costs that are higher at every epoch than those of a lower quality, never by the same amount twice:
    Wilcoxon's test takes a second where differences are tied.
    """
    return {epoch: quality + (1 + 0.1 * quality) * SHAPES[shape](epoch) for epoch in range(1, EPOCHS + 1)}


def train(study: optuna.Study, costs: dict[int, float]) -> None:
    """One trial that reports these costs and ends at the last, unless it is pruned."""
    sign = -1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0

    def objective(trial: optuna.Trial) -> float:
        for epoch, cost in costs.items():
            trial.report(sign * cost, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return sign * list(costs.values())[-1] if costs else NAN

    study.optimize(objective, n_trials=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(2))
def test_the_best_of_curves_that_do_not_cross_is_kept_and_others_are_pruned(pruner, direction, shape, seed):
    study = optuna.create_study(direction=direction, pruner=pruner, study_name=f"seed {seed}")
    qualities = np.random.default_rng(seed).uniform(0.3, 2.0, 40)
    for quality in qualities:
        train(study, curve(quality, shape))
    states = [trial.state for trial in study.trials]
    assert states[np.argmin(qualities)] == TrialState.COMPLETE
    assert states.count(TrialState.PRUNED) >= 10
    assert states.count(TrialState.PRUNED) + states.count(TrialState.COMPLETE) == 40


@pytest.mark.filterwarnings("ignore:.*WilcoxonPruner")
@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")  # the percentile's
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # Wilcoxon's
def test_odd_reports_do_not_stop_a_study(pruner, direction):
    study = optuna.create_study(direction=direction, pruner=pruner, study_name="odd")
    for quality in np.random.default_rng(0).uniform(0.3, 1.0, 12):
        train(study, curve(quality, "power law"))
    for odd in (*ODD.values(), *ODD.values()):
        train(study, odd)
    states = [trial.state for trial in study.trials]
    assert len(states) == 12 + 2 * len(ODD)
    assert all(state.is_finished() for state in states)
    assert states.count(TrialState.COMPLETE) >= 1

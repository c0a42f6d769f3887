"""SMAC3 and DEHB through their own ask and tell."""

import tempfile

from benchmarks.searchers.evaluations import Evaluations
from benchmarks.searchers.hpbandster_bohb import ETA, configspace
from benchmarks.searchers.tables import EVALUATIONS, Table


def smac3(table: Table, seed: int, evaluations: Evaluations) -> None:
    """SMAC3's facade for hyperparameters: a random forest and expected improvement, no fidelities."""
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue

    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            configspace(table, seed),
            output_directory=folder,
            deterministic=True,
            n_trials=EVALUATIONS,
            seed=seed,
        )
        facade = HyperparameterOptimizationFacade(scenario, _unused, overwrite=True, logging_level=False)
        while True:
            asked = facade.ask()
            facade.tell(asked, TrialValue(cost=evaluations.evaluate(dict(asked.config))))


def dehb(table: Table, seed: int, evaluations: Evaluations) -> None:
    """DEHB's brackets from 1 repeat to all."""
    from dehb import DEHB

    with tempfile.TemporaryDirectory() as folder:
        optimizer = DEHB(
            f=_unused,
            cs=configspace(table, seed),
            min_fidelity=1,
            max_fidelity=table.repeats,
            eta=ETA,
            n_workers=1,
            seed=seed,
            output_path=folder,
            log_level="ERROR",
        )
        while True:
            asked = optimizer.ask()
            cost = evaluations.evaluate(dict(asked["config"]), round(asked["fidelity"]))
            optimizer.tell(asked, {"fitness": cost, "cost": asked["fidelity"]})


def _unused(config: object, seed: int = 0) -> float:  # noqa: ARG001  # the signature that SMAC3 demands
    """The objective that both ask for, and never call when they are asked and told."""
    raise AssertionError

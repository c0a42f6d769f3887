"""Results of cells made up for tests."""

from typing import Any

from hpo_gn.comparison.result import CellResult, Incumbent, Labels


def labels(objective: str = "val-loss", seed: int = 0, **others: Any) -> Labels:
    given = {"searcher": "random", "pruner": "none", "model": "mlp", "data": "digits"} | others
    return Labels(objective=objective, seed=seed, **given)


def result(objective: str = "val-loss", accuracy: float = 0.9, seed: int = 0, **others: Any) -> CellResult:
    """A cell whose first incumbent is a point better on the test set than the winner."""
    label_names = ("searcher", "pruner", "model", "data")
    which = labels(objective, seed, **{name: others.pop(name) for name in label_names if name in others})
    incumbents = (
        Incumbent(0, 8.0, 10.0, 0.5, 0.5, 0.8, (accuracy + 0.01,)),
        Incumbent(3, 32.0, 40.0, 0.4, 0.4, 0.85, (accuracy,)),
    )
    given: dict[str, Any] = {
        "replayed": False,
        "budget": 64,
        "spent": 64.0,
        "training_s": 60.0,
        "measuring_s": 20.0,
        "trials": {"complete": 7, "fail": 1},
        "incumbents": incumbents,
        "params": {"learning_rate": 0.01},
        "test_accuracy": (accuracy,),
        "test_loss": (0.3,),
        "failed_retrainings": 0,
        "chance": 0.1,
    }
    return CellResult(which, **given | others)


def failed(objective: str = "val-loss", seed: int = 0, **others: Any) -> CellResult:
    without = {"incumbents": (), "params": {}, "test_accuracy": (), "test_loss": ()}
    return result(objective, seed=seed, failure="no trial was completed", **without, **others)

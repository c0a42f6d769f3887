"""What a search found, and whether it paid."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from scipy.stats import t as student

from hpo_gn.pruning import FalseKills

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Retrained:
    """Settings trained on the full training set.

    Args:
        params: the settings.
        test_accuracy: on the test set, one a seed, in [0, 1].
        test_loss: likewise.
        failures: why a seed is missing.
    """

    params: dict[str, Any]
    test_accuracy: tuple[float, ...]
    test_loss: tuple[float, ...]
    failures: tuple[str, ...] = ()

    def __str__(self) -> str:
        return percent(self.test_accuracy)


@dataclass(frozen=True)
class Spent:
    """What a search or a retraining used, in GPU×epochs and in seconds; `measuring` is the part of `spent`
    that measuring was charged.
    """

    limit: int
    spent: float
    held: float
    training_s: float
    measuring_s: float
    measuring: float = 0.0


@dataclass(frozen=True)
class Result:
    """The outcome of a search.

    Args:
        study: the study's name.
        storage: its database, without a password.
        objective: what was minimized.
        searcher: by whom.
        trial: the winner's number.
        value: its objective.
        epochs: of the winner, and of the retraining.
        trials: how many ended in each state.
        search, retraining: what each used.
        winner: the winner, retrained.
        initial: the initial settings, retrained with the same seeds; None where they were not to be.
        pruner: what gave up runs early, if anything did.
        false_kills: what that saved, and how often it was wrong.
    """

    study: str
    storage: str
    objective: str
    searcher: str
    trial: int
    value: float
    epochs: int
    trials: dict[str, int]
    search: Spent
    retraining: Spent
    winner: Retrained
    initial: Retrained | None
    pruner: str | None = None
    false_kills: FalseKills | None = None

    @property
    def difference(self) -> tuple[float, float, float] | None:
        """Winner's minus initial settings' test accuracy over the seeds both finished: mean and bounds of the
        95 % interval of Student's t for paired samples; None with fewer than two pairs."""
        if self.initial is None:
            return None
        pairs = list(zip(self.winner.test_accuracy, self.initial.test_accuracy, strict=False))
        if len(pairs) < 2 or self.winner.failures or self.initial.failures:
            return None
        differences = [ours - theirs for ours, theirs in pairs]
        half = student.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1) * stdev(differences) / math.sqrt(len(pairs))
        return mean(differences), mean(differences) - half, mean(differences) + half

    @property
    def verdict(self) -> str:
        """A sentence that says whether the search paid."""
        if self.initial is None:
            return f"Test accuracy {self.winner} with the winner; the initial settings were not retrained."
        sides = f"test accuracy {self.winner} with the winner, {self.initial} with the initial settings"
        if self.winner.params == self.initial.params:
            return f"The search chose the initial settings: {sides}."
        if self.difference is None:
            return f"Too few trainings to tell whether the search paid: {sides}."
        middle, low, high = (100 * number for number in self.difference)
        if low > 0:
            claim = "The search paid"
        elif high < 0:
            claim = "The search did harm"
        else:
            claim = "No evidence that the search paid"
        return f"{claim}: {sides} ({middle:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f})."

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON's types."""
        false_kills = self.false_kills and self.false_kills.to_dict()
        derived = {"false_kills": false_kills, "difference": self.difference, "verdict": self.verdict}
        return {**asdict(self), **derived}

    def to_json(self) -> str:
        """The result as indented JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def write(self, folder: Path) -> None:
        """Write `best.yaml`, the winner's settings, and `result.json`, everything."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "best.yaml").write_text(yaml.safe_dump(self.winner.params, sort_keys=False))
        (folder / "result.json").write_text(self.to_json() + "\n")


def percent(shares: Sequence[float]) -> str:
    """`mean ± standard deviation %` of shares in [0, 1]."""
    if not shares:
        return "none"
    spread = f" ± {100 * stdev(shares):.2f}" if len(shares) > 1 else ""
    return f"{100 * mean(shares):.2f}{spread} %"

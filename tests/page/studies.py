"""Studies to show, made of trials that nothing trained."""

import math
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_gn.studies import EXPERIMENT

STUDY = "a search"
"""The name of the search that the fixture makes."""
HOSTILE = "<script>alert('α|&_%$')</script>"
SPACE = {
    "learning_rate": FloatDistribution(1e-5, 1.0, log=True),
    "optimizer": CategoricalDistribution(("sgd", "adam", None)),
    HOSTILE: IntDistribution(1, 9),
}
IDENTITY = {
    "data": "digits",
    "model": HOSTILE,
    "objective": "Mine()",
    "searcher": "random",
    "space": {},
    "initial": {"learning_rate": 0.01},
    "gpus": 1,
}


def make_trial(
    number: int,
    state: TrialState = TrialState.COMPLETE,
    epochs: int = 3,
    value: float | None = None,
    attributes: dict[str, Any] | None = None,
    **last: float,
) -> FrozenTrial:
    """A trial whose value and validation loss fall with its number, the second half as large as the first,
    and whose AGN rises.
    """
    rows = [
        {
            "val_loss": 1 / (number + 1) + 0.1 * (epochs - epoch),
            "val_accuracy": 0.5 + 0.01 * number,
            "train_loss": 0.5 / (number + 1),
            "train_accuracy": 0.8 + 0.01 * number,
            "agn": 10.0 ** (number % 7) * epoch,
        }
        for epoch in range(1, epochs + 1)
    ]
    if rows:
        rows[-1] |= last
    given = {f"hpo_gn:epoch:{epoch}": row for epoch, row in enumerate(rows, 1)}
    complete = state == TrialState.COMPLETE
    return create_trial(
        state=state,
        params={
            "learning_rate": 10.0 ** -(number % 5),
            "optimizer": ("sgd", "adam", None)[number % 3],
            HOSTILE: number % 9 + 1,
        },
        distributions=SPACE,
        value=(2 / (number + 1) if value is None else value) if complete else None,
        user_attrs=given | (attributes or {}),
    )


def make_study(
    trials: Sequence[FrozenTrial], name: str = "shown", identity: dict[str, Any] | None = IDENTITY
) -> optuna.Study:
    """A study of such trials in memory, as a search of ours leaves it unless there is no identity."""
    study = optuna.create_study(study_name=name)
    if identity is not None:
        study.set_user_attr(EXPERIMENT, identity)
    study.add_trials(trials)
    return study


def all_sorts() -> list[FrozenTrial]:
    """Twenty completed trials, three that failed, one given up, one that runs, and one with NaN."""
    reason = {"hpo_gn:reason": HOSTILE}
    given_up = {"hpo_gn:given_up": {"epoch": 1, "shadow": False, "reason": HOSTILE}}
    return [
        *[make_trial(number) for number in range(20)],
        *[make_trial(number, TrialState.FAIL, epochs=1, attributes=reason) for number in range(3)],
        make_trial(3, TrialState.PRUNED, epochs=1, attributes=given_up),
        make_trial(4, TrialState.RUNNING, epochs=2),
        make_trial(5, val_loss=math.nan, agn=math.inf, value=9.0),
    ]

"""Values of either direction as costs, and what pruners ask of their integers."""

import math

from optuna.study import Study, StudyDirection

from hpo_gn.errors import ArgumentError


def sign_of(study: Study) -> int:
    """What makes a value of the study a cost, lower is better, and a finite cost a value: 1 or −1."""
    return -1 if study.direction == StudyDirection.MAXIMIZE else 1


def as_cost(value: float | None, sign: int) -> float:
    """A value as a cost, lower is better: infinite if there is none or it is not finite.

    Args:
        value: of the objective, as reported or final.
        sign: of the study, from `sign_of`.
    """
    return math.inf if value is None or not math.isfinite(value) else sign * value


def check_integer(name: str, value: object, least: int) -> None:
    """Refuse an argument that is no integer or too small.

    Raises:
        ArgumentError: it is.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ArgumentError(name, f"an integer of at least {least}", value)

"""How the page writes methods, tasks and numbers."""

import math

from hpo_gn.comparison.summary import Method, Summary, Task


class Names:
    """The columns that say which method and task a row is of, without those that are the same in all rows.

    Args:
        summary: the comparison.
    """

    def __init__(self, summary: Summary) -> None:
        pruners = {pruner for *_, pruner in summary.methods}
        self._pruner, self._task = pruners != {"none"}, len(summary.tasks) > 1

    def of(self, method: Method, task: Task | None = None) -> tuple[str, ...]:
        """The cells."""
        which = method if self._pruner else method[:2]
        return which if task is None or not self._task else (*which, *task)

    def heads(self, *, task: bool = False) -> tuple[str, ...]:
        """Their heads."""
        return self.of(("objective", "searcher", "pruner"), ("model", "data") if task else None)


def points(share: float) -> str:
    """A difference of shares in points, with its sign; a dash where there is none."""
    return "—" if math.isnan(share) else f"{100 * share:+.2f}"


def percent(share: float) -> str:
    """A share; a dash where there is none."""
    return "—" if math.isnan(share) else f"{100 * share:.1f} %"


def p_value(p: float) -> str:
    """A p-value; a dash where there is none."""
    return "< 0.001" if p < 0.001 else number(p, 3)


def number(value: float, digits: int) -> str:
    """A number with so many digits after the point; a dash where there is none."""
    return "—" if math.isnan(value) else f"{value:.{digits}f}"

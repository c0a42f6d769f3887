"""A row of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Bar:
    """What a ratio must not exceed, and what the issue hopes for."""

    most: float
    goal: float | None = None

    def __str__(self) -> str:
        return f"≤ {self.most:g}" + (f", goal {self.goal:g}" if self.goal else "")


@dataclass(frozen=True)
class Row:
    """A method's figures.

    Args:
        measure: what it computes.
        method: how.
        ratios: its time over the unit's, one a round; none if it was not timed.
        peak: bytes that it holds at most.
        bar: for the median of the ratios.
        note: what else there is to say.
        failed: whether it misses a bar that is not for the ratio.
    """

    measure: str
    method: str
    ratios: Sequence[float] = ()
    peak: int | None = None
    bar: Bar | None = None
    note: str = ""
    failed: bool = False

    @property
    def missed(self) -> bool:
        """Whether it misses a bar."""
        above = self.bar is not None and bool(self.ratios) and median(self.ratios) > self.bar.most
        return self.failed or above

    def __str__(self) -> str:
        """A line of the table."""
        ratio = span = rounds = peak = judged = ""
        if self.ratios:
            ratio, rounds = f"{median(self.ratios):.3f}", str(len(self.ratios))
            span = f"{min(self.ratios):.3f}–{max(self.ratios):.3f}"
        if self.peak is not None:
            peak = f"{self.peak / 1e6:.1f}"
        if self.bar is not None and self.ratios:
            judged = f"{self.bar}: {'missed' if self.missed else 'reached'}"
        end = "; ".join(filter(None, (judged, self.note)))
        line = f"{self.measure:<20} {self.method:<34} {ratio:>7}  {span:>15} {rounds:>4} {peak:>8}   {end}"
        return line.rstrip()


COLUMNS = f"{'measure':<20} {'method':<34} {'ratio':>7}  {'min–max':>15} {'n':>4} {'peak MB':>8}   the bar"

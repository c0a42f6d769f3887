"""What a scenario found: what it saw happen, and how often what must never happen did."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Seen:
    """How often something happened, and how often at least it must have for the scenario to say anything."""

    count: int
    least: int = 1


@dataclass(frozen=True)
class Findings:
    """Counts of one run of a scenario.

    Args:
        seen: what happened, by name.
        broken: how often a guarantee was broken, by what must never happen.
        facts: other figures, for the reader.
        notes: the first lines of what went wrong.
    """

    seen: Mapping[str, Seen]
    broken: Mapping[str, int]
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether the guarantees hold; a scenario in which too little happened does not say so."""
        if any(self.broken.values()):
            return "BROKEN"
        return "saw nothing" if self.unseen else "holds"

    @property
    def unseen(self) -> list[str]:
        """What happened too seldom."""
        return [name for name, seen in self.seen.items() if seen.count < seen.least]

    def lines(self) -> Iterator[str]:
        """The figures, one a line."""
        for name, seen in self.seen.items():
            short = f" (saw nothing: at least {seen.least:,} wanted)" if name in self.unseen else ""
            yield f"{name}: {seen.count:,}{short}"
        yield from (f"{name}: {figure}" for name, figure in self.facts.items())
        yield from (f"{name}: {count:,}{' BROKEN' if count else ''}" for name, count in self.broken.items())
        yield from (f"note: {note}" for note in self.notes)

    def __str__(self) -> str:
        return "\n".join([self.verdict, *self.lines()])

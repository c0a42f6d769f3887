"""Advice: why a searcher makes no sense at a budget, and which budget or number of epochs would do."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

from hpo_gn.schedule import Schedule, Simulation

_MOST_DOUBLINGS = 7
"""A budget that would do is looked for up to 128 times the planned one."""


def advise(
    simulation: Simulation, schedule: Schedule, budget: int, held_back: Callable[[int], int]
) -> str | None:
    """A sentence without its full stop, or None where the searcher makes sense or has no opinion.

    Args:
        simulation: of the search.
        schedule: what it gives at the budget.
        budget: in GPU×epochs.
        held_back: what of a budget the search must leave, by a trial's epochs.
    """
    problem = _problem(simulation, schedule)
    if problem is None:
        return None
    pays = not schedule.rounds  # a budget that does not pay one trial need not first make the search good

    def mended(budget: int, epochs: int) -> bool:
        changed = replace(simulation, epochs=epochs)
        again = changed.run(budget - held_back(epochs))
        return bool(again.rounds) if pays else _problem(changed, again) is None

    remedies = []
    least = _least(budget, lambda more: mended(more, simulation.epochs))
    if least is not None:
        remedies.append(f"a budget of at least {least}")
    if not hasattr(simulation.sampler, "next_assignment"):
        fewer = range(1, simulation.epochs)
        most = bisect_left(fewer, True, key=lambda epochs: not mended(budget, epochs))
        remedies += [f"--epochs {most}"] if most else []
    return f"{problem}; {' or '.join(remedies)} would do" if remedies else problem


def _problem(simulation: Simulation, schedule: Schedule) -> str | None:
    """Why the searcher makes no sense with a schedule."""
    if not schedule.rounds:
        return "the budget does not pay a single trial"
    advice = getattr(simulation.sampler, "advice", None)
    if advice is None:
        return None
    said = advice([[trial.epochs for trial in proposed] for proposed in schedule.rounds])
    return None if said is None else str(said)


def _least(start: int, enough: Callable[[int], bool]) -> int | None:
    """The least number above one that is not enough; None if the most that is tried is not either."""
    for doubling in range(_MOST_DOUBLINGS):
        low, high = start << doubling, start << (doubling + 1)
        if enough(high):
            return low + bisect_left(range(low, high), True, key=enough)
    return None

"""What each measure costs, and what it must win back."""

import math
from collections.abc import Iterator, Sequence

from hpo_gn.page.document import Section, Table
from hpo_gn.page.format import count, number, share
from hpo_gn.page.study import StudyRead
from hpo_gn.status.entries import Measures
from hpo_gn.status.model import MeasureStatus

_TITLE = "What the measures cost"
_LOSS = ("validation", "val_loss")
"""What the validation loss alone costs: the pass over the validation split, and itself."""
_SPLITS = ("train", "validation", "test")


def expected_best(values: Sequence[float], size: float) -> float:
    """The expected least of `size` values drawn from these without putting back, exact; between whole sizes
    on the line between them.

    Args:
        values: finite.
        size: from 1 to their number.
    """
    below = math.floor(size)
    if below < size:
        return (1 - size + below) * expected_best(values, below) + (size - below) * expected_best(
            values, below + 1
        )
    # The i-th least is the least drawn if the other size − 1 are among the n − i above it.
    n, ordered = len(values), sorted(values)
    every = math.comb(n, below)
    return sum(value * (math.comb(n - i, below - 1) / every) for i, value in enumerate(ordered, 1))


def measure_costs(read: StudyRead) -> Section:
    """The section of costs."""
    found = Measures().sum(list(read.trials))
    if not found:
        return Section(_TITLE, ("No trial recorded what its measures cost.",))
    training_s = _training_s(read)
    losses = [loss for trial in read.judged if math.isfinite(loss := read.last(trial, "val_loss"))]
    rows = [_row(each, training_s, losses) for each in found]
    columns = (
        "measure",
        "epochs",
        "s per epoch",
        "of a training epoch",
        "forward",
        "backward",
        "tries",
        "to win back",
    )
    note = (
        "A split's own row is the pass that all of its measures share. Forward and backward: passes over "
        f"the measured samples. Tries: what is left of {count(len(losses), 'completed trial')} if the "
        "measure's time is taken from the same budget. To win back: by how much the expected best "
        "validation loss of so many rises."
    )
    return Section(
        _TITLE,
        tuple(_words(found, training_s, losses)),
        (Table("Cost of each measure", columns, rows, note),),
    )


def _training_s(read: StudyRead) -> float | None:
    """Seconds of training an epoch; None where nobody recorded any."""
    recorded = [
        (cost.training_s, read.trained(trial))
        for trial in read.trials
        if (cost := read.cost(trial)).training_s
    ]
    epochs = sum(trained for _, trained in recorded)
    return sum(seconds or 0.0 for seconds, _ in recorded) / epochs if epochs else None


def _row(each: MeasureStatus, training_s: float | None, losses: Sequence[float]) -> tuple[str, ...]:
    per_epoch = each.seconds / each.epochs
    passes = (f"{each.forward / each.epochs:.3g}", f"{each.backward / each.epochs:.3g}")
    name = f"{each.name} (shared pass)" if each.name in _SPLITS else each.name
    known: tuple[str, ...] = ("", "", "")
    if training_s is not None:
        cost = per_epoch / training_s
        known = (share(cost), *_break_even(losses, cost))
    return (name, str(each.epochs), f"{per_epoch:.3g}", known[0], *passes, *known[1:])


def _break_even(losses: Sequence[float], cost: float) -> tuple[str, str]:
    tries = len(losses) / (1 + cost)
    if tries < 1:
        return "below 1" if losses else "", ""
    return f"{tries:.1f}", number(expected_best(losses, tries) - min(losses), 2)


def _words(
    found: Sequence[MeasureStatus], training_s: float | None, losses: Sequence[float]
) -> Iterator[str]:
    if training_s is None:
        yield "Nobody recorded how long the training itself took, so the measures' shares of it are unknown."
        return
    loss_s = sum(each.seconds / each.epochs for each in found if each.name in _LOSS)
    extra_s = sum(each.seconds / each.epochs for each in found if each.name not in _LOSS)
    cost = extra_s / (training_s + loss_s)
    yield (
        f"An epoch of training takes {training_s:.3g} s and the validation loss "
        f"{share(loss_s / training_s)} of that. Everything else that is measured costs {share(cost)} of "
        "both."
    )
    tries = len(losses) / (1 + cost)
    if tries < 1:
        return
    lost = expected_best(losses, tries) - min(losses)
    yield (
        f"Break-even: charged for everything else, the budget of these {count(len(losses), 'trial')} pays "
        f"for {tries:.1f}. The best validation loss of {tries:.1f} random ones of them is on average "
        f"{number(lost, 2)} above that of all, {number(min(losses))}: by so much must the extra measures "
        "improve the choice, or they do not pay. This is exact for trials drawn at random; where a "
        "searcher improves as it goes, what is lost is more."
    )

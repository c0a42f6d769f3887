"""What of a recorded table a search needs: the columns that it reads, and what measuring only those costs."""

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from optuna.pruners import BasePruner

from hpo_gn.errors import DataError, StudyError
from hpo_gn.experiment import Experiment
from hpo_gn.judging import values_of
from hpo_gn.measures import Measure, Row, Spectrum
from hpo_gn.pruning.wrapper import PrunerWrapper
from hpo_gn.recorded.table import RecordedTable


@dataclass(frozen=True)
class Needs:
    """What the objective and the pruner of an experiment read.

    Args:
        measures: theirs, but for those that are gathered in training, whose time is the training's.
    """

    measures: tuple[Measure, ...]

    @classmethod
    def of(cls, experiment: Experiment) -> "Needs":
        """The needs of an experiment."""
        pruner: BasePruner = experiment.stopping()
        while isinstance(pruner, PrunerWrapper):
            pruner = pruner.pruner
        wanted = (*experiment.objective.measures, *getattr(pruner, "measures", ()))
        return cls(tuple(each for each in wanted if not hasattr(each, "during_training")))

    def check(self, experiment: Experiment, table: RecordedTable) -> None:
        """Refuse a table that lacks what is read.

        Raises:
            DataError: it lacks a column, or has it of other samples.
        """
        run = next((run for run in table.runs if run.completed), None)
        if run is None:
            return
        try:
            values_of(experiment.objective, [run.history])
        except StudyError as error:
            raise DataError(f"the table lacks what {experiment.objective!r} reads: {error}") from None
        except Exception:  # whatever else it raises fails the trial that it raises on, as in a search
            return
        row = run.history.rows[-1]
        for each in self.measures:
            _check_measure(each, row)

    def measuring_s(self, row: Row) -> float:
        """Seconds that an epoch's measuring would have taken had nothing else been measured; NaN where the
        table does not have them.

        A pass over a split that several measures shared counts in full if one of them is needed. Of a measure
        that does not know its columns before it has run, such as `Spectrum`, nothing else is known: there,
        whatever every measure took by itself counts.
        """
        if self.measures and not row.costs:
            return float("nan")
        passes, own = self._accounts
        return sum(
            cost.seconds
            for name, cost in row.costs.items()
            if name in passes or (name not in _SPLITS if own is None else name in own)
        )

    @cached_property
    def _accounts(self) -> tuple[set[str], set[str] | None]:
        """Under which names of `Row.costs` their passes are, and they themselves; None if that is unknown."""
        names = [_columns(each) for each in self.measures]
        own = None if () in names else {name for each in names for name in each}
        return {each.split for each in self.measures}, own


_SPLITS = {"train", "validation", "test"}


def _columns(measure: Measure) -> tuple[str, ...]:
    """The columns that a measure is known to give; none where that depends on the model."""
    with suppress(Exception):  # it may refuse to be asked before it has seen anything
        return tuple(copy.deepcopy(measure).compute())
    return ()


def _check_measure(measure: Measure, row: Mapping[str, float]) -> None:
    if isinstance(measure, Spectrum) and not any(name.startswith("spectrum:") for name in row):
        raise DataError(f"the table lacks the columns spectrum:…; it has: {_listed(row)}")
    samples = getattr(measure, "samples", None)
    for name in _columns(measure):
        if name not in row:
            raise DataError(f"the table lacks the column {name!r}; it has: {_listed(row)}")
        if (samples is None) == (f"{name}_standard_error" in row):
            asked, has = ("all", "some") if samples is None else (f"{samples}", "all")
            raise DataError(f"the table's column {name!r} is of {has} samples, not of {asked}")


def _listed(row: Mapping[str, float]) -> str:
    return ", ".join(sorted(row))


def check_table(experiment: Experiment, table: RecordedTable) -> None:
    """Refuse a table that was made by another experiment than one that is replayed.

    Raises:
        DataError: it is empty, or its space, epochs, data, model or splits differ.
    """
    if not table.runs:
        raise DataError("the recorded table has no runs")
    if table.epochs != experiment.epochs:
        raise DataError(f"the table's runs have {table.epochs} epochs, not {experiment.epochs}")
    if names := _differing(table.distributions, experiment.distributions):
        raise DataError(f"the table's space is not the experiment's: it differs in {', '.join(names)}")
    made, now = table.header["experiment"], experiment.identity()
    for name in ("data", "model", "fraction", "validation_fraction"):
        if made.get(name, now[name]) != now[name]:
            raise DataError(f"the table was made with {name} {made[name]!r}, not {now[name]!r}")


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> Sequence[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))

"""What each objective would have chosen on the same trials, with the test results of the choices."""

from collections.abc import Mapping, Sequence
from statistics import mean

from hpo_gn.page.candidates import Pick, Picks
from hpo_gn.page.document import Section, Table
from hpo_gn.page.format import count, number
from hpo_gn.page.retrained import Retests
from hpo_gn.page.study import StudyRead
from hpo_gn.result import percent

_TITLE = "What each objective would have chosen"
_NOTE = (
    "Rows are ordered by test accuracy where it is known. AGN is the sum over epochs of the squared norm "
    "of the training loss's gradient. Test accuracy: mean ± standard deviation over the seeds, trained on "
    "the full training set."
)


def counterfactual(
    read: StudyRead,
    chosen: Picks,
    tested: Mapping[int, Retests],
    initial: Retests | None,
    command: str | None,
) -> Section:
    """The section of the choices.

    Args:
        read: the study.
        chosen: the choices.
        tested: the retrainings, by trial.
        initial: those of the initial settings.
        command: what retrains those that are missing; None where nothing can.
    """
    if not chosen.picks:
        return Section(_TITLE, ("No trial can be chosen yet: none with a History was completed.",))
    missing = missing_of(chosen, tested)
    one = f"all objectives choose trial {chosen.trials[0]}"
    several = f"the objectives choose {count(len(chosen.picks), 'different trial')}"
    choice = one if len(chosen.picks) == 1 else several
    words = f"On the same {count(len(read.judged), 'completed trial')} {choice}."
    lacking = (_missing(missing, command),) if missing else ()
    commands = (command,) if missing and command else ()
    tables = [_choices(read, chosen.picks, tested, initial)]
    if chosen.skipped:
        tables.append(_cannot_say(chosen.skipped))
    return Section(_TITLE, (words, *lacking), tuple(tables), commands=commands)


def _cannot_say(skipped: Sequence[tuple[str, str]]) -> Table:
    names: dict[str, list[str]] = {}
    for name, reason in skipped:
        names.setdefault(reason, []).append(name)
    rows = [("; ".join(those), reason) for reason, those in names.items()]
    return Table("Objectives that cannot say", ("objectives", "reason"), rows)


def missing_of(chosen: Picks, tested: Mapping[int, Retests]) -> list[int]:
    """The chosen trials whose retrainings are not over."""
    return [number for number in chosen.trials if not tested.get(number, Retests()).over]


def _missing(missing: Sequence[int], command: str | None) -> str:
    verb = "is" if len(missing) == 1 else "are"
    how = "; this command trains what is missing, once the search is over:" if command else "."
    return f"{len(missing)} of them {verb} not retrained ({', '.join(map(str, missing))}){how}"


def _choices(
    read: StudyRead, choices: Sequence[Pick], tested: Mapping[int, Retests], initial: Retests | None
) -> Table:
    ordered = sorted(choices, key=lambda pick: -_mean(tested.get(pick.trial.number)))
    rows = [_row(read, pick, tested.get(pick.trial.number, Retests())) for pick in ordered]
    if initial is not None and initial.over:
        rows.append(("initial settings", "", "", "", "", *_results(initial)))
    columns = ("objectives", "trial", "val. loss", "val. accuracy", "AGN", "test accuracy", "seeds")
    return Table("Choices on the same trials", columns, rows, _NOTE)


def _row(read: StudyRead, pick: Pick, tested: Retests) -> tuple[str, ...]:
    trial = pick.trial
    own = " (this study's choice)" if pick.own and "this study's objective" not in pick.objectives else ""
    measured = (read.last(trial, "val_loss"), read.last(trial, "val_accuracy"), read.agn(trial))
    return (f"{pick.label}{own}", str(trial.number), *map(number, measured), *_results(tested))


def _results(tested: Retests) -> tuple[str, str]:
    if not tested.over:
        return "not retrained" if not tested.unfinished else "in training", ""
    failed = f", {tested.failures} failed" if tested.failures else ""
    accuracies = [tested.accuracies[index] for index in sorted(tested.accuracies)]
    return percent(accuracies), f"{len(accuracies)}{failed}"


def _mean(tested: Retests | None) -> float:
    return mean(tested.accuracies.values()) if tested and tested.accuracies else -1.0

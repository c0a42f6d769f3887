"""What the search used: budget, seconds, trials, workers, and what failed."""

from collections import Counter
from collections.abc import Iterable, Iterator

from optuna.trial import TrialState

from hpo_gn.page.document import Section, Table
from hpo_gn.page.format import count, epochs, seconds, share
from hpo_gn.page.study import StudyRead
from hpo_gn.status.model import StageStatus, Status
from hpo_gn.trial import ERROR, REASON

_TITLE = "Budget use"
_MOST = 20


def budget_use(read: StudyRead, status: Status | None) -> Section:
    """The section of what was used, from the ledger's statement where there is a ledger."""
    failures = tuple(_failures(read))
    if status is None:
        return Section(_TITLE, (_without_ledger(read),), (_states(read), *failures))
    stages = [status.search, *([status.retraining] if status.retraining else [])]
    tables = (_accounts(stages), _states(read), _workers(status.search), *failures)
    return Section(_TITLE, (_words(status.search),), tables)


def _words(stage: StageStatus) -> str:
    account = stage.account
    measured = f", {epochs(account.measuring)} of them on measuring" if account.measuring else ""
    spent = f"{epochs(account.spent)} of {epochs(account.limit)} GPU×epochs are spent{measured}"
    measuring = (
        "" if stage.measuring_share is None else f", {share(stage.measuring_share)} of the time for measuring"
    )
    took = f"{seconds(stage.training_s)} of training and {seconds(stage.measuring_s)} of measuring{measuring}"
    deaths = (
        f" Workers died {count(stage.deaths, 'time')}, and their trials went on elsewhere."
        if stage.deaths
        else ""
    )
    return f"{spent}, {epochs(account.held)} held, {epochs(account.left)} left; {took}.{deaths}"


def _without_ledger(read: StudyRead) -> str:
    trained = sum(map(read.trained, read.trials))
    return f"No ledger came with this study. By their Histories its trials trained {count(trained, 'epoch')}."


def _accounts(stages: Iterable[StageStatus]) -> Table:
    rows = [
        (
            stage.title,
            epochs(stage.account.limit),
            epochs(stage.account.spent),
            epochs(stage.account.held),
            epochs(stage.account.measuring),
            f"{stage.training_s:.1f}",
            f"{stage.measuring_s:.1f}",
        )
        for stage in stages
    ]
    columns = ("", "limit", "spent", "held", "spent on measuring", "training, s", "measuring, s")
    return Table("GPU×epochs and seconds", columns, rows)


def _states(read: StudyRead) -> Table:
    states = Counter(trial.state.name.lower() for trial in read.trials)
    trained: Counter[str] = Counter()
    for trial in read.trials:
        trained[trial.state.name.lower()] += read.trained(trial)
    rows = [(state, str(amount), str(trained[state])) for state, amount in sorted(states.items())]
    return Table("Trials by state", ("state", "trials", "epochs trained"), rows or [("none", "0", "0")])


def _workers(stage: StageStatus) -> Table:
    rows = [
        (
            worker.owner,
            worker.state,
            str(worker.epochs),
            f"{worker.training_s:.1f}",
            f"{worker.measuring_s:.1f}",
            str(worker.deaths),
        )
        for worker in stage.workers[:_MOST]
    ]
    columns = ("worker", "state", "epochs", "training, s", "measuring, s", "deaths")
    more = len(stage.workers) - _MOST
    note = f"{count(more, 'more worker')} not shown." if more > 0 else ""
    return Table("Workers", columns, rows or [("none yet", "", "", "", "", "")], note)


def _failures(read: StudyRead) -> Iterator[Table]:
    failed = [trial for trial in read.trials if trial.state == TrialState.FAIL]
    if not failed:
        return
    reasons: dict[str, list[int]] = {}
    for trial in failed:
        reason = str(trial.user_attrs.get(REASON, trial.user_attrs.get(ERROR, "no reason recorded")))
        reasons.setdefault(reason, []).append(trial.number)
    ordered = sorted(reasons.items(), key=lambda each: -len(each[1]))
    rows = [(reason, str(len(those)), _listed(those)) for reason, those in ordered[:_MOST]]
    yield Table("What failed and why", ("reason", "trials", "numbers"), rows)


def _listed(numbers: list[int]) -> str:
    first = ", ".join(map(str, numbers[:8]))
    return f"{first}, …" if len(numbers) > 8 else first

"""The page of one study: its verdict, its sections, and what it says in the head."""

from collections.abc import Mapping

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo_gn.page.anytime import anytime
from hpo_gn.page.budget_use import budget_use
from hpo_gn.page.candidates import Picks, picks
from hpo_gn.page.correlations import correlations
from hpo_gn.page.costs import measure_costs
from hpo_gn.page.counterfactual import counterfactual
from hpo_gn.page.document import Section, Table
from hpo_gn.page.giving_up import giving_up
from hpo_gn.page.parallel import parallel
from hpo_gn.page.retrained import Retests
from hpo_gn.page.study import StudyRead, TrialCost
from hpo_gn.page.verdict import Verdict, verdict, verdict_section
from hpo_gn.status.model import OVER, Status

_FACTS = {
    "data": "data",
    "model": "model",
    "objective": "objective, minimized",
    "searcher": "searcher",
    "pruner": "pruner",
    "epochs": "epochs of a trial, at most",
    "round_size": "trials proposed together",
    "fraction": "share of the training set searched on",
    "validation_fraction": "share held out for validation",
    "charge": "the budget pays",
    "seed": "seed",
}


def study_sections(
    study: optuna.Study,
    *,
    costs: Mapping[int, TrialCost] | None = None,
    tested: Mapping[int, Retests] | None = None,
    initial: Retests | None = None,
    status: Status | None = None,
    command: str | None = None,
) -> tuple[Verdict, list[Section]]:
    """The verdict and the sections of a study's page, from its trials alone; it needs no storage.

    Args:
        study: as a search or a replay left it, or as it is now.
        costs: what its trials cost, by number.
        tested: retrainings of its trials, by number.
        initial: retrainings of the initial settings.
        status: what its ledger says.
        command: what retrains the choices that were not.

    Raises:
        StudyError: it was not made by a search, and none of its trials has a History.
    """
    read = StudyRead.of(study, costs)
    chosen = picks(read)
    return sections_of(read, study, chosen, tested or {}, initial, status, command)


def sections_of(
    read: StudyRead,
    study: optuna.Study,
    chosen: Picks,
    tested: Mapping[int, Retests],
    initial: Retests | None = None,
    status: Status | None = None,
    command: str | None = None,
) -> tuple[Verdict, list[Section]]:
    """The same of a study that was read already, with arguments as of `study_sections`."""
    found = verdict(read, chosen, tested)
    return found, [
        _head(read, status),
        verdict_section(found),
        counterfactual(read, chosen, tested, initial, command),
        anytime(read),
        parallel(read),
        correlations(read),
        giving_up(read, study),
        measure_costs(read),
        budget_use(read, status),
    ]


def _head(read: StudyRead, status: Status | None) -> Section:
    about = read.about
    rows = [("study", read.name)]
    if status is not None:
        rows.append(("database", status.storage))
        rows.append(("now", status.stage if status.stage == OVER else f"not over: {status.stage}"))
    rows += [(label, str(about[key])) for key, label in _FACTS.items() if about.get(key) is not None]
    space = [
        (name, str(each), str(about.get("initial", {}).get(name, ""))) for name, each in _space(read).items()
    ]
    tables = [Table("The search", ("", "value"), rows)]
    if space:
        tables.append(Table("The search space", ("hyperparameter", "range", "initial setting"), space))
    by = f" by {about['searcher']}" if "searcher" in about else ""
    what = (
        f"{about['model']} on {about['data']}" if "model" in about else "A model that the study does not name"
    )
    return Section("What was searched", (f"{what}, searched{by}: {_trials(read)}.",), tuple(tables))


def _space(read: StudyRead) -> dict[str, str]:
    """Each hyperparameter's range in words; of a study without trials as Optuna writes it."""
    drawn = {name: _words(each) for trial in read.trials for name, each in trial.distributions.items()}
    return dict(read.about.get("space", {})) | drawn


def _words(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        return repr(distribution)
    kind = ", integer" if isinstance(distribution, IntDistribution) else ""
    step = f", in steps of {distribution.step:g}" if distribution.step not in (None, 1) else ""
    scale = ", logarithmic" if distribution.log else ""
    return f"{distribution.low:g} to {distribution.high:g}{kind}{step}{scale}"


def _trials(read: StudyRead) -> str:
    ended = len(read.finished)
    running = len(read.trials) - ended
    return f"{ended} trials ended" + (f", {running} not yet" if running else "")

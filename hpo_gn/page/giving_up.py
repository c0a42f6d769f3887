"""What giving up saved, and how often it was wrong."""

from collections import Counter

import optuna

from hpo_gn.page.document import Section, Table
from hpo_gn.page.format import share
from hpo_gn.page.study import StudyRead
from hpo_gn.pruning import GIVEN_UP, FalseKills, count_false_kills

_TITLE = "Giving up early"


def giving_up(read: StudyRead, study: optuna.Study) -> Section:
    """The section of what the pruner gave up."""
    marked = [trial.user_attrs[GIVEN_UP] for trial in read.trials if GIVEN_UP in trial.user_attrs]
    pruner = read.about.get("pruner")
    if not marked:
        nothing = f"The pruner {pruner} gave up nothing so far." if pruner else "No pruner took part."
        return Section(_TITLE, (nothing,))
    if len(study.directions) > 1:
        return Section(_TITLE, ("In a study of several objectives no trial is given up wrongly or rightly.",))
    found = count_false_kills(study)
    sentence = f"The pruner{f' {pruner}' if pruner else ''} {found}."
    reasons = Counter(str(each.get("reason", "")) for each in marked)
    rows = [(reason or "none given", str(times)) for reason, times in reasons.most_common(8)]
    return Section(
        _TITLE, (sentence,), (_table(found), Table("The reasons it gave most", ("reason", "trials"), rows))
    )


def _table(found: FalseKills) -> Table:
    low, high = found.interval
    rate = "unknown" if found.rate is None else share(found.rate)
    rows = [
        ("trials that ended", str(found.trials)),
        ("given up and stopped", str(found.given_up)),
        ("given up, but trained to the end as a check (shadows)", str(found.shadows)),
        (f"of those, ended among the best {found.top} after all", str(found.wrong)),
        ("share of them", rate),
        (f"{share(found.confidence)} limits of that share", f"{share(low)} to {share(high)}"),
        ("epochs saved", str(found.epochs_saved)),
        ("epochs that the shadows cost", str(found.shadow_epochs)),
    ]
    return Table("Giving up in figures", ("", "figure"), rows)

"""Did the extra signal help? What an objective chose against what the validation loss chose, in words."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hpo_gn.page.candidates import Pick, Picks
from hpo_gn.page.document import Section
from hpo_gn.page.format import count
from hpo_gn.page.retrained import Paired, Retests, pair
from hpo_gn.page.study import StudyRead
from hpo_gn.result import percent

Claim = Literal["helped", "no evidence", "hurt", "same choice", "unknown"]

_HOW = (
    "How it is judged: each objective chooses one of this study's completed trials with the most epochs. "
    "What it chose and what the validation loss alone chose are trained on the full training set with the "
    "same seeds and tested; the interval is Student's t over the differences, seed by seed. It helped if "
    "the whole interval is above zero and hurt if all of it is below."
)
_LIMITS = (
    "What it does not say: how the search would have gone, had another objective led it. For that, compare "
    "whole searches over several seeds with hpo-gn compare."
)


@dataclass(frozen=True)
class Judged:
    """A choice against the validation loss's.

    Args:
        pick: the choice.
        claim: what the retrainings say.
        sentence: the claim with its numbers.
        paired: the differences behind it, if there are any.
    """

    pick: Pick
    claim: Claim
    sentence: str
    paired: Paired | None = None


def judge(pick: Pick, baseline: Pick, tested: Mapping[int, Retests], comparisons: int = 1) -> Judged:
    """Judge one choice.

    Args:
        pick: the choice.
        baseline: the validation loss's.
        tested: the retrainings, by trial.
        comparisons: how many choices are judged together.
    """
    ours, theirs = (tested.get(each.trial.number, Retests()) for each in (pick, baseline))
    if pick.trial.number == baseline.trial.number:
        same = f"trial {pick.trial.number}, as the validation loss alone does"
        return Judged(pick, "same choice", same)
    which = f"trial {pick.trial.number} instead of trial {baseline.trial.number}"
    if not (ours.over and theirs.over):
        missing = [
            each.trial.number
            for each in (pick, baseline)
            if not tested.get(each.trial.number, Retests()).over
        ]
        not_yet = f"{which}, but {_trials(missing)} not retrained"
        return Judged(pick, "unknown", not_yet)
    if ours.failures or theirs.failures:
        failed = f"{which}, but {count(ours.failures + theirs.failures, 'retraining')} failed"
        return Judged(pick, "unknown", failed)
    paired = pair(ours, theirs, comparisons)
    if len(paired.differences) < 2:
        return Judged(pick, "unknown", f"{which}, but fewer than two seeds of both are tested")
    low, high = paired.interval
    claim: Claim = "helped" if low > 0 else "hurt" if high < 0 else "no evidence"
    return Judged(pick, claim, f"{which}: {_numbers(ours, theirs, paired)}", paired)


def _numbers(ours: Retests, theirs: Retests, paired: Paired) -> str:
    low, high = (100 * bound for bound in paired.interval)
    sides = f"test accuracy {_percent(ours)} against {_percent(theirs)}"
    return (
        f"{sides} ({100 * paired.mean:+.2f} points, {100 * paired.confidence:.3g} % interval {low:+.2f} to "
        f"{high:+.2f}, {len(paired.differences)} seeds)"
    )


def _percent(tested: Retests) -> str:
    return percent([tested.accuracies[index] for index in sorted(tested.accuracies)])


def _trials(numbers: Sequence[int]) -> str:
    shown = " and ".join(str(number) for number in numbers)
    return f"trial {shown} is" if len(numbers) == 1 else f"trials {shown} are"


@dataclass(frozen=True)
class Verdict:
    """What the page says first.

    Args:
        sentence: the verdict.
        judged: each choice that was judged.
    """

    sentence: str
    judged: tuple[Judged, ...] = ()


def verdict(read: StudyRead, chosen: Picks, tested: Mapping[int, Retests]) -> Verdict:
    """The study's objective against the validation loss; for a study of the validation loss, every other
    objective against it.
    """
    baseline, own = chosen.baseline, chosen.own
    if own is None:
        return Verdict(
            f"No verdict: no trial with a History was completed, of {count(len(read.trials), 'trial')}."
        )
    if baseline is None:
        return Verdict("No verdict: this study lacks a validation loss to compare with.")
    if _by_loss(read):
        return _others(chosen, baseline, tested)
    mine = next(pick for pick in chosen.picks if pick.trial.number == own.number)
    found = judge(mine, baseline, tested)
    return Verdict(
        f"{_OPENING[found.claim]}: {read.objective_name} chose {found.sentence}.",
        (found,),
    )


_OPENING: Mapping[Claim, str] = {
    "helped": "Helped",
    "no evidence": "No evidence that it helped or hurt",
    "hurt": "Hurt",
    "same choice": "No difference",
    "unknown": "Unknown",
}


def _by_loss(read: StudyRead) -> bool:
    """Whether the search's values were validation losses, whatever its objective is called."""
    return all(read.value(trial) == read.last(trial, "val_loss") for trial in read.judged)


def _others(chosen: Picks, baseline: Pick, tested: Mapping[int, Retests]) -> Verdict:
    others = [pick for pick in chosen.picks if not pick.baseline]
    number = baseline.trial.number
    if not others:
        same = f"every objective would have chosen trial {number}, as the validation loss did"
        return Verdict(f"No difference: {same}.")
    judged = tuple(judge(pick, baseline, tested, len(others)) for pick in others)
    counts = Counter(each.claim for each in judged)
    parts = [f"{counts[claim]} {words}" for claim, words in _ENDINGS.items() if counts[claim]]
    chose = f"the search minimized the validation loss and chose trial {number}"
    instead = f"the others would have chosen {count(len(others), 'other trial')}: {', '.join(parts)}"
    return Verdict(f"{_opening(judged)}: {chose}; {instead}.", judged)


_ENDINGS: Mapping[Claim, str] = {
    "helped": "better",
    "hurt": "worse",
    "no evidence": "without evidence of either",
    "unknown": "not tested",
}


def _opening(judged: Sequence[Judged]) -> str:
    claims = {each.claim for each in judged}
    if "helped" in claims:
        helped = next(each for each in judged if each.claim == "helped")
        return f"Another objective would have helped ({helped.pick.label})"
    if claims == {"unknown"}:
        return "Unknown whether another objective would have helped"
    if claims == {"hurt"}:
        return "Any other objective would have hurt"
    return "No evidence that another objective would have helped"


def verdict_section(found: Verdict) -> Section:
    """The section that explains the verdict."""
    return Section("Did the extra signal help?", (found.sentence, *_each(found), _HOW, _LIMITS))


def _each(found: Verdict) -> Iterator[str]:
    if len(found.judged) < 2:
        return
    for each in found.judged:
        yield f"{each.pick.label}: {each.claim}; {each.sentence}."
    if any(each.paired for each in found.judged):
        yield f"The intervals hold together for all {len(found.judged)} choices (Bonferroni)."

"""False kills: what is counted, and what is said of it."""

import json
import math

import optuna
import pytest
from optuna.pruners import BasePruner
from optuna.trial import TrialState, create_trial

from hpo_gn.errors import ArgumentError
from hpo_gn.failures import DIVERGED
from hpo_gn.fidelity import EPOCHS
from hpo_gn.pruning import GIVEN_UP, FalseKills, ShadowedPruner, count_false_kills

COMPLETE, PRUNED, FAIL, RUNNING = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING


def trial(value=None, state=COMPLETE, ran=10, given_up=None, shadow=True, epochs=10):
    """One that reported `ran` epochs of its `epochs`."""
    attributes = {} if epochs is None else {EPOCHS: epochs}
    if given_up is not None:
        attributes[GIVEN_UP] = {"epoch": given_up, "shadow": shadow, "reason": "x"}
    reports = dict.fromkeys(range(1, ran + 1), 0.0)
    return create_trial(state=state, value=value, intermediate_values=reports, user_attrs=attributes)


def study_of(*trials, direction="minimize"):
    study = optuna.create_study(direction=direction)
    study.add_trials(trials)
    return study


def false_kills(**numbers):
    nothing = dict.fromkeys(("trials", "given_up", "shadows", "wrong", "epochs_saved", "shadow_epochs"), 0)
    return FalseKills(**{**nothing, "top": 3, "confidence": 0.95, **numbers})


GOOD = [trial(value) for value in (1.0, 2.0, 3.0)]


@pytest.mark.parametrize(
    ("shadow", "top", "wrong"),
    [
        (trial(0.5, given_up=4), 1, True),
        (trial(1.5, given_up=4), 1, False),
        (trial(1.5, given_up=4), 2, True),
        (trial(2.0, given_up=4), 2, True),  # a tie
        (trial(3.5, given_up=4), 3, False),
        (trial(3.5, given_up=4), 4, True),
        (trial(math.inf, given_up=4), 9, False),
        (trial(-math.inf, given_up=4), 9, False),
    ],
)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_shadow_is_wrong_if_it_ends_in_the_top(shadow, top, wrong, direction):
    study = optuna.create_study(direction=direction)
    for each in (*GOOD, shadow):
        value = each.value if each.value is None or direction == "minimize" else -each.value
        study.add_trial(
            trial(value, each.state, each.last_step, each.user_attrs.get(GIVEN_UP, {}).get("epoch"))
        )
    counted = count_false_kills(study, top=top)
    assert (counted.shadows, counted.wrong) == (1, int(wrong))
    assert counted.shadow_epochs == shadow.last_step - 4


@pytest.mark.parametrize(
    "uncounted",
    [
        trial(state=RUNNING, given_up=4),
        trial(1.0, state=PRUNED, ran=6, given_up=4),
        trial(state=FAIL, ran=6, given_up=4),
    ],
    ids=["still runs", "its own code pruned it", "its own code failed"],
)
def test_a_shadow_without_an_end_does_not_count(uncounted):
    counted = count_false_kills(study_of(*GOOD, uncounted))
    assert (counted.shadows, counted.wrong, counted.shadow_epochs, counted.rate) == (0, 0, 0, None)
    assert counted.given_up == counted.epochs_saved == 0


def diverged(epoch, given_up):
    """It reports every epoch but the one in which it diverges."""
    found = trial(state=FAIL, ran=epoch - 1, given_up=given_up)
    found.set_user_attr(DIVERGED, epoch)
    return found


def test_a_shadow_that_diverged_was_given_up_rightly():
    counted = count_false_kills(study_of(*GOOD, diverged(7, given_up=4), trial(1.5, given_up=4)), top=9)
    assert (counted.shadows, counted.wrong, counted.shadow_epochs) == (2, 1, 3 + 6)


def test_trials_of_fewer_epochs_compete_among_themselves():
    """A searcher that promotes gives the better ones of a rung more epochs."""
    short = [trial(value, ran=5, epochs=5) for value in (5.0, 6.0, 7.0)]
    found = study_of(*GOOD, *short, trial(5.5, ran=5, epochs=5, given_up=2), trial(4.0, given_up=2))
    assert count_false_kills(found, top=2).wrong == 1


def test_a_diverged_trial_is_not_among_the_best():
    assert count_false_kills(study_of(trial(-math.inf), *GOOD, trial(1.5, given_up=4)), top=2).wrong == 1


@pytest.mark.parametrize(
    ("epochs", "saved"),
    [(10, 8 + 5), (20, 18 + 15), (None, 8 + 5)],
    ids=["assigned", "more assigned than anybody ran", "somebody else's study"],
)
def test_epochs_saved_are_those_that_were_left(epochs, saved):
    stopped = [trial(9.0, PRUNED, ran, given_up=ran, shadow=False, epochs=epochs) for ran in (2, 5)]
    others = [trial(9.0, PRUNED, ran=1, epochs=epochs), trial(state=FAIL, ran=1), trial(state=RUNNING, ran=1)]
    counted = count_false_kills(study_of(*GOOD, *stopped, *others))
    assert (counted.given_up, counted.epochs_saved, counted.trials) == (2, saved, 7)


def test_nothing_is_saved_where_nothing_is_known():
    counted = count_false_kills(study_of(trial(9.0, PRUNED, 3, given_up=3, shadow=False, epochs=None)))
    assert (counted.given_up, counted.epochs_saved) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top": 0}, "top must be a positive integer, got 0"),
        ({"top": True}, "top must be a positive integer, got True"),
        ({"top": 1.0}, "top must be a positive integer, got 1.0"),
        ({"confidence": 0}, r"confidence must be a number in \(0, 1\), got 0"),
        ({"confidence": 95}, r"confidence must be a number in \(0, 1\), got 95"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        count_false_kills(study_of(), **arguments)


def test_a_study_of_several_objectives_is_refused():
    several = optuna.create_study(study_name="both", directions=["minimize", "maximize"])
    with pytest.raises(ArgumentError, match=r"^study must be one of a single objective, got 'both'$"):
        count_false_kills(several)


GAVE_UP = {"trials": 40, "given_up": 23, "epochs_saved": 214}


@pytest.mark.parametrize(
    ("counted", "sentence"),
    [
        (false_kills(trials=40), "gave up none of 40 trials"),
        (
            false_kills(**GAVE_UP),
            "gave up 23 of 40 trials, which saved 214 epochs; no shadow was trained to the end, "
            "so how often that was wrong is not known",
        ),
        (
            false_kills(**GAVE_UP, shadows=3, shadow_epochs=27),
            "gave up 23 of 40 trials, which saved 214 epochs; 3 shadows cost 27: 0 ended in the top 3, "
            "so at most 63.2 % of what was given up would have, with 95 % confidence: too few to tell; "
            "59 without a wrong one would show at most 5 %",
        ),
        (
            false_kills(**GAVE_UP, shadows=1, wrong=1, shadow_epochs=9),
            "gave up 23 of 40 trials, which saved 214 epochs; 1 shadow cost 9: 1 ended in the top 3, "
            "so at most 100 % of what was given up would have, with 95 % confidence: too few to tell; "
            "59 without a wrong one would show at most 5 %",
        ),
        (
            false_kills(**GAVE_UP, shadows=59, shadow_epochs=300),
            "gave up 23 of 40 trials, which saved 214 epochs; 59 shadows cost 300: 0 ended in the top 3, "
            "so at most 4.95 % of what was given up would have, with 95 % confidence",
        ),
        (
            false_kills(**GAVE_UP, shadows=10, wrong=8, shadow_epochs=90, top=5),
            "gave up 23 of 40 trials, which saved 214 epochs; 10 shadows cost 90: 8 ended in the top 5, "
            "so 44.4 % to 97.5 % of what was given up would have, with 95 % confidence",
        ),
    ],
    ids=["none", "no shadow", "too few", "one", "enough", "bad"],
)
def test_the_sentence(counted, sentence):
    assert str(counted) == sentence
    assert counted.tells == (counted.shadows > 3)


@pytest.mark.parametrize("shadows", [0, 7])
def test_json(shadows):
    counted = false_kills(**GAVE_UP, shadows=shadows)
    read = json.loads(json.dumps(counted.to_dict()))
    assert FalseKills(**{name: read[name] for name in counted.__dataclass_fields__}) == counted
    assert read["sentence"] == str(counted)
    assert (read["rate"], read["bound"], tuple(read["interval"])) == (
        counted.rate,
        counted.bound,
        counted.interval,
    )


class EarlyPruner(BasePruner):
    """Prunes at step 1 whatever is worse there than a level."""

    def prune(self, study, trial):
        return trial.intermediate_values[1] > 0


def test_it_is_read_from_the_database_alone(tmp_path):
    """Begun in one process, gone on with in another, and counted in a third."""
    url = f"sqlite:///{tmp_path}/s.db"

    def objective(trial):
        x = trial.suggest_float("x", -1, 1)
        for step in (1, 2, 3):
            trial.report(x, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return x

    def open_study():
        return optuna.create_study(
            study_name="s",
            storage=url,
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=ShadowedPruner(EarlyPruner(), share=0.5),
        )

    for n_trials in (6, 6):
        open_study().optimize(objective, n_trials=n_trials)
    counted = count_false_kills(optuna.load_study(study_name="s", storage=url))
    trials = open_study().trials
    states, poor = [trial.state for trial in trials], sum(trial.params["x"] > 0 for trial in trials)
    ends = sorted(trial.value for trial in trials if trial.state == COMPLETE)
    assert counted.trials == 12
    assert counted.given_up == states.count(PRUNED) == poor - counted.shadows
    assert (counted.epochs_saved, counted.shadow_epochs) == (2 * counted.given_up, 2 * counted.shadows)
    assert counted.wrong == sum(0 < value <= ends[2] for value in ends)
    assert counted.shadows > 0
    assert counted.given_up > 0


def test_a_shadow_that_failed_says_nothing():
    """The budget or a dead worker may have ended it."""
    study = optuna.create_study()
    for each in (*GOOD, trial(state=FAIL, ran=6, given_up=4)):
        study.add_trial(each)
    counted = count_false_kills(study)
    assert (counted.shadows, counted.wrong, counted.shadow_epochs) == (0, 0, 0)

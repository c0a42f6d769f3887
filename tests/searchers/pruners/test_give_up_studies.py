"""Give-up in anyone's studies: what is missing, levels of false kills, mistakes, threads, and copies."""

import copy

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.history import write_row
from hpo_gn.measures.early_success import EarlySuccess
from hpo_gn.pruning import EarlierRounds
from hpo_gn.rounds import ROUND
from hpo_gn.searchers.pruners import give_up
from hpo_gn.searchers.pruners.give_up import GiveUpPruner
from tests.give_up_runs import (
    BAD,
    FIVE,
    NAN,
    SHORT,
    STILL,
    at_once,
    finished,
    level,
    levels,
    numbered,
    over,
    rows,
    running,
    study_of,
)

SPECTRA = [finished([1.0, 0.8, v], **rows([50, 30, 8], [0.3, 0.6, 1 - v])) for v in (0.1, 0.2, 0.3)]


@pytest.mark.parametrize("signal", ["s-fv", "s-f"])
def test_without_spectra_the_value_is_looked_at_with_one_warning(signal):
    pruner, study = at_once(signal=signal, parameters=SHORT), study_of(SPECTRA)
    bare = {"hpo_gn:epoch:1": {"val_accuracy": 0.5}}
    trials = [numbered(running([1.1], **bare), 7), running([1.1]), running([1.0], **bare)]
    with pytest.warns(UserWarning, match="looks at values") as heard:
        assert [pruner.prune(study, trial) for trial in trials] == [True, True, False]
    columns = {"s-fv": "val_accuracy and spectrum", "s-f": "spectrum"}[signal]
    assert [str(warning.message) for warning in heard] == [
        f"GiveUpPruner looks at values instead of {signal}: trial 7 has no columns {columns}"
    ]


def test_without_validation_accuracy_the_value_is_looked_at():
    pruner, study = at_once(signal="s-fv", parameters=SHORT), study_of(SPECTRA)
    with pytest.warns(UserWarning, match="values instead of s-fv"):
        assert pruner.prune(study, running([1.0, 0.9], **rows([50, 50])))
    assert not pruner.prune(study, running([1.0, 0.8], **rows([50, 50])))


@pytest.mark.parametrize("signal", ["s-fv", "s-f"])
@pytest.mark.parametrize(
    "attributes",
    [
        rows({1: 50.0, 3: 60.0}, [0.1] * 3),
        rows({2: 60.0, 3: 60.0}, [0.1] * 3),  # the first row is missing, so its History is empty
        rows([50.0], [0.1]) | {"hpo_gn:epoch:2": {"val_loss": 1.0}},  # not measured at this epoch
        rows([50.0], [0.1]) | {"hpo_gn:epoch:2": {"spectrum:9": 60.0, "spectrum_width:9": 64.0}},
        rows([50.0, 60.0], [0.1, NAN]) | {"hpo_gn:epoch:2": {"spectrum:0": NAN, "spectrum_width:0": 64.0}},
        rows([50.0], [0.1]) | {"hpo_gn:epoch:2": {"spectrum:0": 60.0, "spectrum_width:0": 128.0}},
    ],
    ids=["gap", "gap at first", "row without", "other layer", "not a number", "other width"],
)
def test_a_run_whose_rows_say_nothing_is_left_alone(signal, attributes):
    done = [finished(t.intermediate_values | {4: t.value}, **t.user_attrs) for t in SPECTRA]
    pruner = at_once(signal=signal, parameters=SHORT)
    steps = max(int(name.rsplit(":", 1)[1]) for name in attributes)
    assert not pruner.prune(study_of(done), running([9.0] * steps, **attributes))


def test_a_window_longer_than_the_run_is_cut():
    pruner, study = at_once(signal="s-f", parameters=EarlySuccess(t0=50)), study_of(SPECTRA)
    assert pruner.prune(study, running([1.0, 0.9], **rows([30, 50])))
    assert not pruner.prune(study, running([1.0, 0.9], **rows([50, 10])))


def test_finished_runs_that_lack_the_signal_do_not_count():
    done = [*levels(0.01, 0.02, 0.03, epochs=3), *SPECTRA[:2]]
    pruner, poor = at_once(signal="s-f", parameters=SHORT), running([1.0, 0.9], **rows([30, 50]))
    assert not pruner.prune(study_of(done), poor)
    assert pruner.prune(study_of([*done, SPECTRA[2]]), poor)


def grid(kept: int, lost: int) -> list[FrozenTrial]:
    """The best are the best from the beginning, in the order of their final values, and so are the others."""
    return levels(*(0.001 * k for k in range(kept + lost)), epochs=3)


@pytest.mark.parametrize(("count", "pruned"), [(61, False), (62, True)])
def test_a_level_of_5_percent_takes_59_runs_that_would_have_been_given_up(count, pruned):
    pruner = at_once(false_kills=0.05)
    trial = running(level(9.0, 2))
    assert pruner.prune(study_of(grid(3, count - 3)), trial) is pruned
    assert at_once().prune(study_of(grid(3, count - 3)), trial)


def test_until_a_level_is_met_only_what_diverged_is_given_up():
    done = [over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32), BAD]
    pruner = at_once(false_kills=0.05, parameters=SHORT)
    assert not pruner.prune(study_of(done), running([0.45] * 4, **rows(STILL[:4])))
    assert pruner.prune(study_of(done), running([NAN]))


def test_a_level_that_needs_more_lenience_gets_it():
    """Which of the twenty good ones will win cannot be told at first, and the best three are the first."""
    slow = [finished([0.5 + 0.01 * (k * 7 % 20), 0.45, 0.01 * k]) for k in range(20)]
    rest = [finished([2.0 + 0.01 * k, 1.9, 1.8]) for k in range(80)]
    study, pruner = study_of([*slow, *rest]), at_once(false_kills=0.05)
    assert not pruner.prune(study, running([0.52]))
    assert pruner.prune(study, running([5.0]))


@pytest.mark.parametrize(
    ("told_at", "checkpoints", "pruned"),
    [(1, None, True), (2, None, True), (2, [1, 2], True), (2, [1], False), (3, None, False)],
)
def test_a_level_counts_what_the_rule_would_have_done_where_it_decides(told_at, checkpoints, pruned):
    """After the last epoch, which is the third, there is nothing to decide."""
    pruner = at_once(false_kills=0.05, checkpoints=checkpoints)
    meets = [finished([9.0 + k * (told_at == e) for e in (1, 2)] + [float(k)]) for k in range(70)]
    study, other = study_of(meets), study_of(grid(3, 67))
    assert pruner.prune(study, running([100.0])) is pruned
    assert pruner.prune(other, running([100.0]))  # as many runs, of which it has learned something else
    assert pruner.prune(study, running([100.0])) is pruned


def test_an_exception_inside_costs_no_run_and_is_warned_of_once(monkeypatch):
    def fail(*_: object) -> bool:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(give_up, "comparable", fail)
    study = optuna.create_study(pruner=GiveUpPruner(), sampler=optuna.samplers.RandomSampler(seed=0))
    with pytest.warns(UserWarning, match="a bug") as heard:
        study.optimize(train, n_trials=8)
    assert [str(warning.message) for warning in heard] == [
        "pruner GiveUpPruner: it failed with ZeroDivisionError: a bug; the trial goes on; "
        "this is not said again"
    ]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 8
    assert all(trial.last_step == 4 for trial in study.trials)


def test_a_storage_that_is_away_is_none_of_its_mistakes(monkeypatch):
    study = study_of(levels(*FIVE))

    def away(*_: object, **__: object) -> list[FrozenTrial]:
        raise StorageInternalError("away")

    monkeypatch.setattr(study, "get_trials", away)
    with pytest.raises(StorageInternalError, match="away"):
        at_once().prune(study, running([9.0]))


def test_a_study_of_several_objectives_is_not_pruned():
    study = optuna.create_study(directions=["minimize", "minimize"])
    with pytest.warns(UserWarning, match="^pruner GiveUpPruner: a study of several objectives is not pruned"):
        assert not at_once().prune(study, running([NAN]))


def train(trial: optuna.Trial) -> float:
    """A user's training of 4 epochs, which reports a loss and records what the signals need."""
    quality = trial.suggest_float("quality", 0.0, 1.0)
    for epoch in range(1, 5):
        row = {"spectrum:0": 60 / epoch ** (1 - quality), "spectrum_width:0": 64.0}
        write_row(trial, epoch, row | {"val_accuracy": (1 - quality) * (1 - 0.5 / epoch)})
        trial.report(quality + 1 / epoch, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return quality + 1 / 4


@pytest.fixture(params=["memory", "sqlite"])
def storage(request, tmp_path):
    if request.param == "memory":
        yield optuna.storages.InMemoryStorage()
        return
    database = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    yield database
    database.remove_session()
    database.engine.dispose()


@pytest.mark.parametrize("signal", ["value", "s-fv", "s-f"])
def test_a_users_study_with_two_threads(storage, signal):
    study = optuna.create_study(
        storage=storage,
        pruner=at_once(signal=signal, parameters=SHORT),
        sampler=optuna.samplers.RandomSampler(seed=1),
    )
    study.optimize(train, n_trials=10, n_jobs=2)
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == 10
    assert states.count(TrialState.PRUNED) >= 2
    best = min(study.trials, key=lambda trial: trial.params["quality"])
    assert best.state == TrialState.COMPLETE


def test_a_copy_is_the_same_one_so_that_rounds_read_finished_runs_once(monkeypatch):
    pruner, read = at_once(), []
    assert copy.deepcopy(pruner) is pruner
    of = give_up.Past.of
    monkeypatch.setattr(give_up.Past, "of", lambda *args: read.append(args[1].number) or of(*args))
    rounds = EarlierRounds(pruner)
    study = study_of(finished(level(f, 4), **{ROUND: 1}) for f in FIVE)
    for number in (2, 2, 3):
        trial = running(level(9.0, 2), **{ROUND: number})
        assert rounds.prune(study, trial)
    assert read == [0, 1, 2, 3, 4]
    assert not rounds.prune(study, running(level(9.0, 2), **{ROUND: 1}))


def test_studies_of_the_same_name_do_not_mix():
    pruner = at_once(false_kills=0.5)
    good, bad = (optuna.create_study(study_name="same") for _ in range(2))
    good.add_trials(levels(*(0.1 * k for k in range(9))))
    bad.add_trials(levels(*(7 + 0.1 * k for k in range(9))))
    assert pruner.prune(good, running(level(3.0, 2)))
    assert not pruner.prune(bad, running(level(3.0, 2)))
    assert pruner.prune(good, running(level(3.0, 2)))

"""Every pruner by name, with settings that suit the length of a run."""

import math
import warnings

import optuna
import pytest
from optuna.pruners import HyperbandPruner, PercentilePruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

from hpo_gn.errors import ArgumentError, UnknownNameError
from hpo_gn.pruning import named_pruner
from hpo_gn.registry import load, names
from hpo_gn.searchers.pruners.give_up import GiveUpPruner
from hpo_gn.searchers.pruners.one_epoch import OneEpochPruner
from hpo_gn.searchers.pruners.power_law import PowerLawPruner


@pytest.mark.parametrize("name", names("pruner"))
def test_each_is_made_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert type(named_pruner(name, epochs=16)) is load("pruner", name)


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("power-law", PowerLawPruner, {"epochs": None}),
        ("percentile", PercentilePruner, {"_percentile": 25.0}),
        ("successive-halving", SuccessiveHalvingPruner, {"_min_resource": 1, "_reduction_factor": 3}),
        ("hyperband", HyperbandPruner, {"_min_resource": 1, "_max_resource": 16, "_reduction_factor": 3}),
        ("give-up", GiveUpPruner, {"signal": "value", "top": 3, "false_kills": None}),
    ],
)
def test_settings_suit_the_length_of_a_run(name, kind, settings):
    pruner = named_pruner(name, epochs=16)
    assert isinstance(pruner, kind)
    assert {key: getattr(pruner, key) for key in settings} == settings


def test_one_epoch_is_one_epoch_however_long_a_run_is():
    pruner = named_pruner("one-epoch", epochs=16)
    assert isinstance(pruner, OneEpochPruner)
    assert pruner.epochs == 1


def test_what_is_asked_for_is_taken():
    pruner = named_pruner("give-up", 16, {"signal": "s-fv", "false_kills": 0.05, "top": None})
    assert (pruner.signal, pruner.false_kills, pruner.top) == ("s-fv", 0.05, 3)
    assert named_pruner("power-law", 16, {"epochs": 8}).epochs == 8


@pytest.mark.parametrize("name", ["median", "optuna.pruners:MedianPruner"])
def test_what_it_does_not_take_is_refused(name):
    with pytest.raises(ArgumentError) as raised:
        named_pruner(name, 16, {"signal": "s-fv"})
    message = f"signal must be left out, since pruner {name!r} does not take it, got 's-fv'"
    assert str(raised.value) == message


def test_what_is_no_pruner_is_refused():
    path = "optuna.samplers:RandomSampler"
    with pytest.raises(ArgumentError) as raised:
        named_pruner(path, 16)
    assert str(raised.value) == f"pruner must be a class of Optuna pruners, got {path!r}"
    with pytest.raises(UnknownNameError, match=r"^no pruner is called 'give-in'; did you mean 'give-up'"):
        named_pruner("give-in", 16)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", sorted(set(names("pruner")) - {"wilcoxon"}))
def test_each_prunes_the_worse_of_30_runs_of_16_epochs_and_keeps_the_best(name):
    study = optuna.create_study(study_name="s", pruner=named_pruner(name, epochs=16))

    def train(trial: optuna.Trial) -> float:
        quality = math.modf(0.3 + trial.number * 0.618)[0]
        for epoch in range(1, 17):
            trial.report(quality + 0.5 * epoch**-0.7, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return quality + 0.5 * 16**-0.7

    study.optimize(train, n_trials=30)
    assert sum(trial.last_step for trial in study.trials) <= 0.75 * 30 * 16
    best = min(study.trials, key=lambda trial: math.modf(0.3 + trial.number * 0.618)[0])
    assert best.state == TrialState.COMPLETE

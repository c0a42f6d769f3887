"""The protocol, in one process, on real digits."""

import io
import json
import math

import optuna
import pytest
import torch
import yaml
from rich.console import Console
from torch import nn

from hpo_gn import Experiment, History, Ledger, make_objective, search
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    ModelError,
    SpaceError,
    StorageError,
    StudyError,
)
from hpo_gn.fidelity import continues, epochs_of, format_epochs
from hpo_gn.measures import GSNR, MeanLoss
from hpo_gn.report import describe
from hpo_gn.space import paper_space
from hpo_gn.worker import FINGERPRINT


def experiment(**changes):
    settings = {
        "data": "digits",
        "model": "mlp",
        "space": paper_space(),
        "objective": make_objective("val-loss"),
        "searcher": "random",
        "epochs": 2,
        "round_size": 4,
    }
    return Experiment(**(settings | changes))


def trials_of(folder, name="s"):
    storage = optuna.storages.RDBStorage(sqlite_url(folder / "study.db"))
    trials = optuna.load_study(study_name=name, storage=storage).get_trials()
    storage.remove_session()
    storage.engine.dispose()
    return trials


def account_of(folder, name="s"):
    return Ledger(f"sqlite:///{folder}/study.db", name).account()


def run(folder, budget=16, **changes):
    names = ("workers", "include_retraining", "seeds", "compare_initial")
    keywords = {key: changes.pop(key) for key in names if key in changes}
    return search(
        experiment(**changes), budget=budget, output=folder, study="s", **({"workers": 1} | keywords)
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search by every searcher, 8 trials of 2 epochs in 2 rounds."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(folder)


def test_spends_exactly_its_budget(finished):
    folder, result = finished
    account = account_of(folder)
    assert (account.spent, account.held, account.left) == (16, 0, 0)
    assert (result.search.spent, result.search.limit, result.search.held) == (16, 16, 0)
    assert result.trials == {"complete": 8}


def test_retrains_winner_and_initial_settings_with_three_seeds(finished):
    _, result = finished
    assert result.initial.params == {
        "batch_size": 100,
        "learning_rate": 0.01,
        "momentum": 0.6,
        "weight_decay": 5e-4,
    }
    assert len(result.winner.test_accuracy) == len(result.initial.test_accuracy) == 3
    assert len(set(result.winner.test_loss)) == 3
    assert all(0.1 < accuracy <= 1 for accuracy in result.winner.test_accuracy)
    assert result.retraining.spent == 2 * 3 * 2


def test_winner_is_the_best_trial(finished):
    folder, result = finished
    best = min(trials_of(folder), key=lambda trial: trial.value)
    assert (result.trial, result.value, result.winner.params) == (best.number, best.value, best.params)


def test_writes_best_result_and_model(finished):
    folder, result = finished
    assert yaml.safe_load((folder / "best.yaml").read_text()) == result.winner.params
    written = json.loads((folder / "result.json").read_text())
    assert written == json.loads(json.dumps(result.to_dict()))
    weights = torch.load(folder / "model.pt", weights_only=True)
    assert sum(weight.numel() for weight in weights.values()) > 1000
    assert not (folder / "checkpoints").exists()


def test_any_objective_can_be_computed_again_from_the_study(finished):
    folder, _ = finished
    for trial in trials_of(folder):
        history = History.of(trial)
        assert len(history) == 2
        assert make_objective("val-loss")(history) == trial.value
        again = make_objective("agn-val", alpha=0.5)(history)
        assert again == pytest.approx(trial.value + 0.5 * sum(history.column("agn")))
        assert 0 <= make_objective("val-error")(history) <= 1
        assert math.isfinite(make_objective("agn-train", normalized=True)(history))


def test_repeating_the_search_only_reads_its_result(finished):
    folder, result = finished
    again = run(folder)
    assert again == result
    assert len(trials_of(folder)) == 8


def test_a_larger_budget_extends_the_search(tmp_path):
    run(tmp_path, budget=8, seeds=1)
    before = trials_of(tmp_path)
    run(tmp_path, budget=16, seeds=1)
    after = trials_of(tmp_path)
    assert len(after) == 8
    assert [trial.params for trial in after[:4]] == [trial.params for trial in before]
    assert account_of(tmp_path).spent == 16


def test_a_study_name_is_one_harmless_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search(experiment(), budget=8, seeds=1, workers=1, study="../a b: 50 %")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    (folder,) = (tmp_path / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} >= {"study.db", "best.yaml", "result.json"}
    assert len(trials_of(folder.relative_to(tmp_path), "../a b: 50 %")) == 4


def test_a_trial_that_cannot_finish_does_not_start(tmp_path):
    run(tmp_path, budget=7, seeds=1)
    assert len(trials_of(tmp_path)) == 3
    assert account_of(tmp_path).spent == 6


def test_gpus_multiply_what_search_and_retraining_cost(tmp_path):
    result = run(tmp_path, budget=9, epochs=1, gpus=2, seeds=1)
    assert (result.search.spent, result.retraining.spent) == (8, 4)


def test_retraining_can_be_held_back_from_the_budget(tmp_path):
    result = run(tmp_path, budget=12, seeds=2, include_retraining=True)
    assert (result.search.spent, result.retraining.spent) == (4, 8)
    assert result.retraining.limit == 8


def test_the_winner_can_be_retrained_alone(tmp_path):
    result = run(tmp_path, budget=8, seeds=2, include_retraining=True, compare_initial=False)
    assert (result.search.spent, result.retraining.spent) == (4, 4)
    assert (len(result.winner.test_accuracy), result.initial, result.difference) == (2, None, None)
    written = json.loads((tmp_path / "result.json").read_text())
    assert (written["initial"], written["difference"]) == (None, None)
    assert written["verdict"].endswith("with the winner; the initial settings were not retrained.")
    shown = io.StringIO()
    Console(file=shown, width=120).print(describe(result))
    assert "2 seeds: 4 GPU×epochs" in shown.getvalue()
    assert "initial settings  " not in shown.getvalue()


def test_a_winner_retrained_beside_the_initial_settings_is_read_alone(tmp_path):
    # So many epochs that those of both are more than the winner alone may spend.
    both = run(tmp_path, budget=8, epochs=8, seeds=1)
    alone = run(tmp_path, budget=8, epochs=8, seeds=1, compare_initial=False)
    assert (alone.winner, alone.initial, alone.retraining) == (both.winner, None, both.retraining)
    assert run(tmp_path, budget=8, epochs=8, seeds=1) == both


def test_initial_settings_are_retrained_after_the_winner(tmp_path):
    alone = run(tmp_path, budget=2, seeds=1, compare_initial=False)
    both = run(tmp_path, budget=2, seeds=1)
    assert both.winner == alone.winner
    assert len(both.initial.test_accuracy) == 1


@pytest.mark.slow
@pytest.mark.parametrize("searcher", ["cma-es", "particle-swarm", "tpe"])
def test_one_and_two_workers_give_the_same_trials_and_values(tmp_path, searcher):
    results = [run(tmp_path / str(n), searcher=searcher, budget=24, seeds=1, workers=n) for n in (1, 2)]
    one, two = (trials_of(tmp_path / str(n)) for n in (1, 2))
    assert [trial.params for trial in one] == [trial.params for trial in two]
    assert [trial.value for trial in one] == [trial.value for trial in two]
    assert [History.of(trial) for trial in one] == [History.of(trial) for trial in two]
    assert results[0].winner == results[1].winner
    assert len(one) == 12


@pytest.mark.slow
def test_bohb_continues_promoted_configurations_and_charges_only_what_it_adds(tmp_path):
    pytest.importorskip("hpbandster")
    settings = {"searcher": "bohb", "epochs": 4, "min_epochs": 1, "round_size": 8, "seeds": 1}
    run(tmp_path / "continued", budget=26, **settings)
    run(tmp_path / "scratch", budget=32, from_scratch=True, **settings)
    continued, scratch = trials_of(tmp_path / "continued"), trials_of(tmp_path / "scratch")
    assert account_of(tmp_path / "scratch").spent == 32
    assert account_of(tmp_path / "continued").spent == 26
    promoted = [trial for trial in continued if continues(trial) is not None]
    assert promoted
    for trial in promoted:
        parent = continued[continues(trial)]
        assert trial.params == parent.params
        assert History.of(trial).upto(epochs_of(parent, 0)) == History.of(parent)
    # One training, continued or begun again: the same values.
    assert [trial.value for trial in continued] == [trial.value for trial in scratch]


class Diverging(nn.Module):
    """A network whose logits become NaN for large learning rates' weights, here always."""

    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.Linear(64, classes)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1)) * float("nan")


def test_diverged_trials_are_recorded_and_never_win(tmp_path):
    with pytest.raises(
        StudyError, match=r"none of the 4 trials was completed: diverged at epoch 1: val_loss is nan"
    ):
        run(tmp_path, budget=5, round_size=4, model=Diverging)
    trials = trials_of(tmp_path)
    assert {trial.state.name for trial in trials} == {"FAIL"}
    assert account_of(tmp_path).held == 0
    assert account_of(tmp_path).spent == 4


class Own:
    """A Training of one's own, which cannot be saved."""

    def __init__(self, config, splits, *, epochs, seed):
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, splits.classes))
        self.rate, self.data = config["rate"], splits.train

    def run_epoch(self):
        inputs, targets = self.data.batch(slice(None))
        loss = nn.functional.cross_entropy(self.model(inputs), targets)
        gradients = torch.autograd.grad(loss, list(self.model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(self.model.parameters(), gradients, strict=True):
                parameter -= self.rate * gradient


class Sequence(Own):
    """Its linear layer sees eight vectors an image, which AGN cannot be read off."""

    def __init__(self, config, splits, *, epochs, seed):
        super().__init__(config, splits, epochs=epochs, seed=seed)
        self.model = Mean(splits.classes)


class Mean(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(8, classes)

    def forward(self, inputs):
        return self.layer(inputs.squeeze(1)).mean(dim=1)


class Breaking(Own):
    def run_epoch(self):
        raise RuntimeError("out of coffee")


def own_space():
    from ConfigSpace import ConfigurationSpace, Float

    space = ConfigurationSpace()
    space.add(Float("rate", (0.001, 1.0), log=True, default=0.01))
    return space


def test_any_object_that_keeps_the_training_protocol_can_be_searched(tmp_path):
    result = run(tmp_path, budget=8, seeds=2, model=None, training=Own, space=own_space())
    assert set(result.winner.params) == {"rate"}
    assert len(result.winner.test_accuracy) == 2
    assert not (tmp_path / "model.pt").exists()


def test_agn_is_recorded_where_it_can_be_read_and_fails_only_who_asks_for_it(tmp_path):
    settings = {
        "budget": 4,
        "seeds": 1,
        "model": None,
        "training": Sequence,
        "space": own_space(),
        "round_size": 2,
    }
    run(tmp_path / "loss", **settings)
    row = History.of(trials_of(tmp_path / "loss")[0]).rows[0]
    fit = {"train_entropy", "train_majority"}
    assert row.keys() >= {"train_loss", "train_accuracy", "val_loss", "val_accuracy"} | fit
    assert "agn" not in row
    refused = (
        "every trial of the last round failed, the first with ModelError: the watched linear layer must get"
    )
    with pytest.raises(StudyError, match=refused):
        run(tmp_path / "agn", objective=make_objective("agn-val"), **settings)
    assert account_of(tmp_path / "agn").held == 0


def test_a_bug_in_the_training_fails_its_trials_and_stops_the_search(tmp_path):
    with pytest.raises(
        StudyError, match="every trial of the last round failed, the first with RuntimeError: out of coffee"
    ):
        run(tmp_path, budget=80, model=None, training=Breaking, space=own_space())
    trials = trials_of(tmp_path)
    assert len(trials) == 4
    assert all("out of coffee" in trial.user_attrs["hpo_gn:traceback"] for trial in trials)
    assert account_of(tmp_path).held == 0


def test_an_interrupted_search_holds_nothing_and_goes_on_to_the_same_trials(tmp_path, finished):
    class Stopping(Own):
        count = 0

        def run_epoch(self):
            Stopping.count += 1
            if Stopping.count == 5:
                raise KeyboardInterrupt
            super().run_epoch()

    settings = {"budget": 16, "seeds": 1, "model": None, "space": own_space()}
    run(tmp_path / "whole", training=Own, **settings)
    Stopping.__module__, Stopping.__qualname__ = Own.__module__, Own.__qualname__
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", training=Stopping, **settings)
    account = account_of(tmp_path / "stopped")
    assert (account.held, account.spent) == (0, 5)
    run(tmp_path / "stopped", training=Stopping, **settings)
    whole, stopped = trials_of(tmp_path / "whole"), trials_of(tmp_path / "stopped")
    # Own cannot be saved, so trial 2 began again: it spent one epoch more, and the last trial does not fit.
    assert [trial.value for trial in whole[:7]] == [trial.value for trial in stopped]
    assert account_of(tmp_path / "stopped").spent == 15


class Saved(Own):
    """Can be saved; stops the search in its third epoch, once."""

    hidden, epochs = 64, 0

    def __init__(self, config, splits, *, epochs, seed):
        super().__init__(config, splits, epochs=epochs, seed=seed)
        self.model = nn.Sequential(
            nn.Flatten(), nn.Linear(64, self.hidden), nn.Linear(self.hidden, splits.classes)
        )

    def run_epoch(self):
        Saved.epochs += 1
        if Saved.epochs == 4:
            raise KeyboardInterrupt
        super().run_epoch()

    def state_dict(self):
        return self.model.state_dict()

    def load_state_dict(self, state):
        self.model.load_state_dict(state)


def test_a_checkpoint_of_another_model_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    settings = {"budget": 16, "epochs": 4, "seeds": 1, "model": None, "space": own_space(), "training": Saved}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, **settings)
    monkeypatch.setattr(Saved, "hidden", 32)
    with pytest.raises(CheckpointError, match=r"the checkpoint of trial 0 is of another model: [^\n]+$"):
        run(tmp_path, **settings)
    assert account_of(tmp_path).held == 0
    assert account_of(tmp_path).spent == 4
    monkeypatch.setattr(Saved, "hidden", 64)
    run(tmp_path, **settings)
    assert trials_of(tmp_path)[0].state.name == "COMPLETE"


def test_other_data_are_refused(tmp_path):
    run(tmp_path, budget=8, seeds=1)
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.load_study(study_name="s", storage=storage)
    study.set_user_attr(FINGERPRINT, "0" * 64)
    storage.remove_session()
    with pytest.raises(DataError, match="the data are not those that study 's' was made with"):
        run(tmp_path, budget=16, seeds=1)


def test_a_study_made_otherwise_is_refused(tmp_path):
    run(tmp_path, budget=8, seeds=1)
    with pytest.raises(StudyError, match="study 's' was made with epochs 2, not 4; choose another name"):
        run(tmp_path, budget=16, seeds=1, epochs=4)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"budget": 1}, ArgumentError, "budget must be at least 2, one trial's epochs, got 1"),
        ({"budget": 0}, ArgumentError, "budget must be 1 or more, got 0"),
        ({"workers": 0}, ArgumentError, "workers must be 1 or more, got 0"),
        ({"seeds": 0}, ArgumentError, "seeds must be 1 or more, got 0"),
        ({"epochs": 0}, ArgumentError, "epochs must be a positive integer, got 0"),
        ({"seed": -1}, ArgumentError, "seed must be 0 or more, got -1"),
        ({"min_epochs": 3}, ArgumentError, r"min_epochs must be from 1 to epochs \(2\), got 3"),
        (
            {"fraction": 0.001},
            DataError,
            "digits: class 0 is left without a sample in the reduced training set",
        ),
        ({"fraction": 1.5}, ArgumentError, "fraction must be a number above 0 and below 1, got 1.5"),
        ({"space": own_space()}, SpaceError, "it lacks batch_size, learning_rate, momentum, weight_decay"),
        ({"model": "tests.nowhere:f"}, ArgumentError, "no module 'tests.nowhere'"),
        ({"model": "resnet21"}, LookupError, "no model is called 'resnet21'; did you mean 'resnet20'"),
        ({"searcher": "cma"}, LookupError, "no searcher is called 'cma'; did you mean 'cma-es'"),
        ({"data": "digit"}, LookupError, "no data set is called 'digit'; did you mean 'digits'"),
        ({"model": "torch:zeros"}, ModelError, "model torch:zeros"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(tmp_path, changes, error, message):
    with pytest.raises(error, match=message) as caught:
        run(tmp_path / "new", **changes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_storage_that_cannot_be_opened(tmp_path):
    with pytest.raises(StorageError, match="cannot open the storage sqlite:"):
        search(
            experiment(), budget=8, output=tmp_path, storage=f"sqlite:///{tmp_path}/no/such/folder/study.db"
        )


@pytest.mark.parametrize(
    ("estimate", "has", "has_not"),
    [
        ("sampled", {"agn", "agn_standard_error", "train_loss", "train_loss_standard_error"}, {"agn_online"}),
        ("online", {"agn_online", "train_loss", "train_loss_standard_error"}, {"agn"}),
    ],
)
def test_an_objective_that_estimates_agn_saves_the_pass_over_the_training_split(
    estimate, has, has_not, tmp_path
):
    run(tmp_path, budget=4, seeds=1, objective=make_objective("agn-val", agn=estimate))
    for trial in trials_of(tmp_path):
        history = History.of(trial)
        assert len(history) == 2
        for row in history.rows:
            assert row.keys() >= has | {"val_loss", "val_accuracy"}
            assert not row.keys() & has_not


def test_what_measuring_cost_is_kept_with_each_epoch(finished):
    folder, _ = finished
    for trial in trials_of(folder):
        for row in History.of(trial).rows:
            single = {name for name in row if not name.startswith("spectrum")}
            assert row.costs.keys() == {"train", "validation", "spectrum:1"} | single
            assert (row.costs["train"].forward, row.costs["train"].backward) == (1, 0)
            assert row.costs["agn"].seconds > 0


class TurnsToNaN:
    """Its weights become NaN in the second epoch."""

    def __init__(self, config, splits, *, epochs, seed):
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.epochs = 0

    def run_epoch(self):
        self.epochs += 1
        if self.epochs == 2:
            nn.init.constant_(self.model[1].weight, math.nan)


class NeedsNumbers:
    """An objective whose measure raises where it can give no number."""

    measures = (GSNR(), MeanLoss("validation"))

    def __call__(self, history):
        return history.last("val_loss")

    def __repr__(self):
        return "NeedsNumbers()"


def test_a_measure_that_can_give_no_number_ends_a_diverged_trial(tmp_path):
    with pytest.raises(StudyError):  # no trial is left to retrain
        run(tmp_path, budget=4, model=None, training=TurnsToNaN, objective=NeedsNumbers())
    for trial in trials_of(tmp_path):
        assert trial.state == optuna.trial.TrialState.FAIL
        assert trial.user_attrs["hpo_gn:reason"] == (
            "diverged at epoch 2: the output of layer '1' is not finite: the training diverged"
        )


def test_measuring_is_charged_where_asked(tmp_path):
    result = run(tmp_path, budget=30, seeds=1, charge="measures")
    epochs = sum(len(History.of(trial)) for trial in trials_of(tmp_path))
    spent = result.search
    assert spent.measuring > 0
    assert spent.spent == epochs + spent.measuring <= spent.limit == 30
    assert spent.held == 0
    assert result.retraining.measuring == 0
    shown = io.StringIO()
    Console(file=shown, width=200).print(describe(result))
    assert f"{format_epochs(spent.measuring)} of them on measuring, 0 held" in shown.getvalue()

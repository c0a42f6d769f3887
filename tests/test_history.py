import json

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_gn.errors import StudyError
from hpo_gn.history import History, has_gaps, write_row
from hpo_gn.measures import Cost, Row

ROWS = [{"agn": 3.0, "val_loss": 0.5}, {"agn": 2.0, "val_loss": 0.4}, {"agn": 1.0, "val_loss": 0.3}]


def record(rows: dict[int, dict[str, float]], storage: str | None = None) -> optuna.Study:
    """A study of one trial that carries the rows, by epoch."""

    def objective(trial: optuna.Trial) -> float:
        for epoch, row in rows.items():
            write_row(trial, epoch, row)
        return 0.0

    study = optuna.create_study(storage=storage, study_name="history")
    study.optimize(objective, n_trials=1)
    return study


def test_a_column_has_a_value_an_epoch():
    history = History(ROWS)
    assert len(history) == 3
    assert history.column("agn") == (3.0, 2.0, 1.0)
    assert history.last("val_loss") == 0.3
    assert History().column("agn") == ()


def test_with_row_and_upto_leave_the_history_itself():
    history = History(ROWS[:1])
    assert history.with_row(ROWS[1]) == History(ROWS[:2])
    assert history == History(ROWS[:1])
    assert History(ROWS).upto(2) == History(ROWS[:2])
    assert History(ROWS).upto(9) == History(ROWS)
    assert History(ROWS).upto(0) == History()


def test_it_keeps_no_reference_to_the_rows_it_was_given():
    row = {"agn": 1.0}
    history = History([row])
    row["agn"] = 2.0
    assert history.last("agn") == 1.0


def test_histories_compare_by_their_rows():
    assert History(ROWS) == History(ROWS)
    assert History(ROWS) != History(ROWS[:2])
    assert History() != ()
    assert repr(History(ROWS)) == "History(3 epochs)"
    with pytest.raises(TypeError, match="unhashable"):
        hash(History())


@pytest.mark.parametrize(
    ("rows", "read", "message"),
    [
        ([], lambda h: h.last("agn"), "the history is empty, so it has no 'agn'"),
        (ROWS, lambda h: h.last("s_f"), "the history has no 's_f' at epoch 3; it has: agn, val_loss"),
        (ROWS, lambda h: h.column("s_f"), "the history has no 's_f' at epoch 1; it has: agn, val_loss"),
        ([*ROWS[:1], {}], lambda h: h.column("agn"), "the history has no 'agn' at epoch 2; it has: nothing"),
    ],
)
def test_what_is_not_there_is_named(rows, read, message):
    with pytest.raises(StudyError) as raised:
        read(History(rows))
    assert str(raised.value) == message


def test_the_last_value_needs_no_earlier_one():
    assert History([{}, {"s_f": 0.2}]).last("s_f") == 0.2


@pytest.mark.parametrize("storage", [None, "sqlite"])
def test_a_trial_carries_its_history(storage, tmp_path):
    url = storage and f"sqlite:///{tmp_path / 'study.db'}"
    study = record(dict(enumerate(ROWS, 1)), url)
    assert History.of(study.trials[0]) == History(ROWS)
    if url:
        reloaded = optuna.load_study(study_name="history", storage=url)
        assert History.of(reloaded.trials[0]) == History(ROWS)


def test_a_running_trial_carries_what_was_written_so_far():
    trial = optuna.create_study().ask()
    assert History.of(trial) == History()
    write_row(trial, 1, ROWS[0])
    assert History.of(trial) == History(ROWS[:1])


@pytest.mark.parametrize(
    ("epochs", "kept"), [([1, 2, 3], 3), ([1, 3], 1), ([2, 3], 0), ([2, 1], 2), ([1, 2, 4, 5], 2)]
)
def test_rows_beyond_a_gap_do_not_count(epochs, kept):
    study = record({epoch: {"agn": float(epoch)} for epoch in epochs})
    assert History.of(study.trials[0]).column("agn") == tuple(float(epoch) for epoch in range(1, kept + 1))


@pytest.mark.parametrize(
    ("epochs", "gaps"),
    [([], False), ([1, 2, 3], False), ([2, 1], False), ([1, 3], True), ([2, 3], True), ([1, 2, 4], True)],
)
def test_a_gap_is_found_in_a_finished_trial_and_in_a_running_one(epochs, gaps):
    rows = {epoch: Row({"agn": 1.0}, {"agn": Cost(0.5, 0.0, 0.0)}) for epoch in epochs}
    assert has_gaps(record(rows).trials[0]) is gaps
    trial = optuna.create_study().ask()
    trial.set_user_attr("hpo_gn:epochs", 8)
    for epoch, row in rows.items():
        write_row(trial, epoch, row)
    assert has_gaps(trial) is gaps


def test_an_epoch_that_ran_again_replaces_its_row():
    trial = optuna.create_study().ask()
    write_row(trial, 1, {"agn": 1.0})
    write_row(trial, 1, {"agn": 2.0})
    assert History.of(trial).rows == ({"agn": 2.0},)


def test_other_attributes_of_the_trial_are_none_of_its_rows():
    trial = optuna.create_study().ask()
    trial.set_user_attr("hpo_gn:epochs", 8)
    trial.set_user_attr("mine", {"agn": 1.0})
    write_row(trial, 1, ROWS[0])
    assert History.of(trial) == History(ROWS[:1])


def test_numpys_numbers_are_written_as_pythons():
    trial = optuna.create_study().ask()
    write_row(trial, 1, {"a": np.float32(0.5), "b": np.int64(2), "c": np.bool_(True)})
    assert json.loads(json.dumps(trial.user_attrs))["hpo_gn:epoch:1"] == {"a": 0.5, "b": 2.0, "c": 1.0}


@given(st.lists(st.fixed_dictionaries({"a": st.floats(), "b": st.floats()}), max_size=5))
def test_any_number_survives(rows):
    trial = optuna.create_study(storage=optuna.storages.InMemoryStorage()).ask()
    for epoch, row in enumerate(rows, 1):
        write_row(trial, epoch, row)
    found = History.of(trial)
    assert len(found) == len(rows)
    for row, expected in zip(found.rows, rows, strict=True):
        assert repr(row) == repr(expected)  # NaN, and the sign of 0, too


def test_costs_stay_beside_their_columns():
    row = Row({"agn": 1.0, "train_loss": 2.0}, {"agn": Cost(0.5, 0.0, 0.0), "train": Cost(2.0, 1.0, 0.0)})
    trial = optuna.create_study().ask()
    write_row(trial, 1, row)
    write_row(trial, 2, {"agn": 3.0})
    found = History.of(trial)
    assert found.rows[0].costs == row.costs
    assert found.rows[1].costs == {}
    assert found.upto(1).rows[0].costs == found.with_row({}).rows[0].costs == row.costs


def test_histories_are_equal_whatever_they_cost():
    assert History([Row({"agn": 1.0}, {"agn": Cost(0.5, 0.0, 0.0)})]) == History([{"agn": 1.0}])

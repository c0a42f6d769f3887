import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from hpo_gn import registry
from hpo_gn.data import DataSet, from_arrays, open_data
from hpo_gn.errors import ArgumentError, DataError, UnknownNameError

ARRAYS = {
    "x_train": np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3),
    "y_train": np.array([0, 1, 2, 0]),
    "x_test": np.arange(2 * 6, dtype=np.uint8).reshape(2, 2, 3),
    "y_test": np.array([2, 1], np.uint8),
}


@pytest.fixture
def module(monkeypatch):
    """An importable module that a test fills."""
    made = ModuleType("users_module")
    monkeypatch.setitem(sys.modules, "users_module", made)
    return made


@pytest.mark.parametrize("name", registry.names("data set"))
def test_a_registered_data_set_is_opened_without_reading_anything(name, tmp_path):
    data = open_data(name, tmp_path / "empty")
    assert data.name == name
    assert not (tmp_path / "empty").exists()


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        UnknownNameError, match="no data set is called 'fashon-mnist'; did you mean 'fashion-"
    ):
        open_data("fashon-mnist")


def test_a_npz_file_is_a_data_set(tmp_path):
    np.savez(tmp_path / "mine.npz", **ARRAYS)
    data = open_data(str(tmp_path / "mine.npz"))
    assert data.classes == 3
    inputs, targets = data.read("train")
    assert inputs.shape == (4, 1, 2, 3)
    assert inputs.dtype == torch.uint8
    assert (inputs[:, 0].numpy() == ARRAYS["x_train"]).all()
    assert targets.tolist() == [0, 1, 2, 0]
    assert data.read("test")[1].dtype == torch.int64


def test_a_npz_files_test_arrays_are_not_read_before_they_are_asked_for(tmp_path):
    arrays = {key: value for key, value in ARRAYS.items() if key != "x_test"}
    np.savez(tmp_path / "mine.npz", **arrays)
    data = open_data(str(tmp_path / "mine.npz"))
    data.read("train")
    with pytest.raises(DataError, match="needs the arrays x_train, y_train, x_test and y_test, lacks x_test"):
        data.read("test")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 damaged"])
def test_a_damaged_npz_file_is_refused_with_its_name(tmp_path, content):
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read") as caught:
        open_data(str(path))
    assert str(caught.value).startswith(str(path))


def test_a_npz_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        open_data(str(tmp_path / "none.npz"))


def test_an_array_that_is_no_archive_is_refused(tmp_path):
    with (tmp_path / "mine.npz").open("wb") as file:
        np.save(file, ARRAYS["x_train"])
    with pytest.raises(DataError, match="cannot be read"):
        open_data(str(tmp_path / "mine.npz"))


@pytest.mark.parametrize(
    ("change", "split", "message"),
    [
        (
            {"x_train": ARRAYS["x_train"].astype(int)},
            "train",
            "x_train must be of uint8 or floats, got int64",
        ),
        ({"y_test": np.array([0.0, 1.0])}, "test", r"y_test must be integers \[N\], got float64 \[2\]"),
        ({"y_test": np.array([[0, 1]])}, "test", r"y_test must be integers \[N\], got int64 \[1, 2\]"),
        ({"y_test": np.array([0, 3])}, "test", "labels must be 0 to 2, got 3"),
        ({"x_test": ARRAYS["x_test"][:1]}, "test", "1 inputs but 2 targets"),
        ({"x_train": np.zeros((4, 8, 8, 3), np.uint8)}, "train", "channels first, got"),
        ({"x_train": np.full((4, 5), np.nan)}, "train", "inputs must be finite"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused_when_they_are_read(change, split, message):
    data = from_arrays("mine", ARRAYS | change)
    with pytest.raises(DataError, match=message):
        data.read(split)


@pytest.mark.parametrize("labels", [[], [0, 0, 0, 0], [-1, -1, -1, -1]])
def test_labels_of_fewer_than_two_classes_are_refused(labels):
    with pytest.raises(DataError, match="y_train must have labels from 0 to at least 1"):
        from_arrays("mine", ARRAYS | {"y_train": np.array(labels, int)})


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 6, 6)])
def test_float_inputs_become_float32_and_keep_their_shape(shape):
    values = np.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    inputs, _ = from_arrays("mine", ARRAYS | {"x_train": values}).read("train")
    assert inputs.dtype == torch.float32
    assert inputs.numpy() == pytest.approx(values)


def test_a_users_function_returns_a_data_set_or_arrays(module):
    data = from_arrays("mine", ARRAYS)
    module.a_data_set = lambda: data
    module.arrays = lambda: {key: torch.from_numpy(value) for key, value in ARRAYS.items()}
    assert open_data("users_module:a_data_set") is data
    found = open_data("users_module:arrays")
    assert isinstance(found, DataSet)
    assert torch.equal(found.read("test")[0], data.read("test")[0])


def test_a_users_function_that_returns_neither_is_refused(module):
    module.number = lambda: 3
    with pytest.raises(
        DataError, match="users_module:number must return a DataSet or a mapping of arrays, got int"
    ):
        open_data("users_module:number")


@pytest.mark.parametrize("path", ["users_module:nothing", "no_such_module:function"])
def test_a_users_function_that_is_not_there_is_refused(module, path):
    with pytest.raises(ArgumentError, match="data set must be"):
        open_data(path)

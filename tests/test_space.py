"""Spaces: the paper's, those of files, and the way between ConfigSpace and Optuna."""

from pathlib import Path
from typing import Any

import pytest
from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    EqualsCondition,
    NormalFloatHyperparameter,
    UniformFloatHyperparameter,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo_gn.errors import SpaceError
from hpo_gn.space import (
    initial_settings,
    load_space,
    paper_space,
    space_from_json,
    space_to_json,
    to_configspace,
    to_distributions,
)
from hpo_gn.unit_cube import UnitCube

EXAMPLE = """\
hyperparameters:
  - {name: learning_rate, type: uniform_float, lower: 1e-5, upper: 0.5, log: true, default_value: 1e-2}
  - {name: batch_size, type: uniform_int, lower: 32, upper: 512, default_value: 128, meta: {step: 32}}
  - {name: optimizer, type: categorical, choices: [sgd, no, null, true, 1.5], default_value: no}
  - {name: depth, type: ordinal, sequence: [1, 2, 4]}
  - {name: momentum, type: constant, value: 0.9}
"""

EXAMPLE_DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "batch_size": IntDistribution(32, 512, step=32),
    "depth": CategoricalDistribution([1, 2, 4]),
    "learning_rate": FloatDistribution(1e-5, 0.5, log=True),
    "momentum": CategoricalDistribution([0.9]),
    "optimizer": CategoricalDistribution(["sgd", "no", None, True, 1.5]),
}


def test_the_papers_space() -> None:
    space = paper_space()
    assert to_distributions(space) == {
        "batch_size": IntDistribution(32, 1000, log=True),
        "learning_rate": FloatDistribution(1e-7, 0.5, log=True),
        "momentum": FloatDistribution(0.0, 0.99),
        "weight_decay": FloatDistribution(5e-7, 0.05, log=True),
    }
    start = {"batch_size": 100, "learning_rate": 0.01, "momentum": 0.6, "weight_decay": 0.0005}
    assert initial_settings(space) == start
    assert initial_settings(space) == dict(space.get_default_configuration())
    assert [type(value) for value in initial_settings(space).values()] == [int, float, float, float]


def test_a_yaml_file(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(EXAMPLE)
    space = load_space(path)
    assert to_distributions(space) == EXAMPLE_DISTRIBUTIONS
    start = {"batch_size": 128, "depth": 1, "learning_rate": 0.01, "momentum": 0.9, "optimizer": "no"}
    assert initial_settings(space) == start
    assert UnitCube(to_distributions(space)).encode(start).shape == (4,)


def test_what_configspace_writes_is_read(tmp_path: Path) -> None:
    space = paper_space()
    space.to_yaml(tmp_path / "space.yaml")
    space.to_json(tmp_path / "space.json")
    assert load_space(str(tmp_path / "space.yaml")) == load_space(tmp_path / "space.json") == space


def item(**fields: Any) -> str:
    shown = ", ".join(f"{name}: {value}" for name, value in fields.items())
    return f"hyperparameters: [{{name: x, {shown}}}]"


FLOAT = {"type": "uniform_float", "lower": 0.0, "upper": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping with a list 'hyperparameters'"),
        ("hyperparameters: []", "a search space must have at least one hyperparameter"),
        ("hyperparameters: [3]", "hyperparameter 1 must be a mapping with a 'name', got 3"),
        ("hyperparameters: []\nconditons: []", "a space is called 'conditons'; did you mean 'conditions'?"),
        ("hyperparameters: []\nconditions: [1]", "conditions and forbidden clauses are not supported"),
        (item(type="float"), "type of 'x' must be one of uniform_float, uniform_int, categorical, "),
        (item(type="float"), "ordinal, constant, got 'float'"),
        (item(**FLOAT, lowr=1), "no field of 'x' is called 'lowr'; did you mean 'lower'?"),
        (item(**{**FLOAT, "lower": "'1e-3'"}), "up to 2⁵³ of at most 13 decimals, got '1e-3'"),
        (item(**{**FLOAT, "lower": ".nan"}), "a finite number up to 2⁵³ of at most 13 decimals, got nan"),
        (item(**{**FLOAT, "lower": "true"}), "a finite number up to 2⁵³ of at most 13 decimals, got True"),
        (item(type="uniform_float", lower=0.0), "'x' must have 'upper', a finite number"),
        (item(**FLOAT, log="no"), "log of 'x' must be true or false, got 'no'"),
        ("hyperparameters: []\nhyperparameters: []", "key 'hyperparameters' is there twice"),
        (item(**{**FLOAT, "lower": 2.0}), "'x' has illegal settings: Upper bound 1.000000 must be larger"),
        (item(**FLOAT, default_value=3.0), "Illegal default value 3.0"),
        (item(**FLOAT, log="true"), "'x' has illegal settings: Negative lower bound"),
        (item(**{**FLOAT, "lower": 1e-15}), "13 decimals"),
        (item(**{**FLOAT, "lower": 0.5}, log="true", meta="{step: 0.1}"), "step of 'x' must be absent"),
        (item(type="uniform_int", lower=1, upper=2.5), "upper of 'x' must be an integer up to 2⁵³, got 2.5"),
        (item(type="uniform_int", lower=1, upper=9, meta="{step: 0}"), "integer up to 2⁵³, above 0, got 0"),
        (item(type="uniform_int", lower=1, upper=9, meta="{stop: 2}"), "meta of 'x' must be {step: …}"),
        (item(type="uniform_int", lower=1, upper=9, meta="{step: 3}"), "upper of 'x' must be lower + a"),
        (item(**{**FLOAT, "upper": 1e-13}, meta="{step: 0.5}"), "upper of 'x' must be lower + a multiple"),
        ("hyperparameters: []\nname: [a]", "name of a space must be a string, got ['a']"),
        (item(**FLOAT, default_value=0.2, meta="{step: 0.5}"), "default_value of 'x' must be lower +"),
        (item(type="categorical", choices="a"), "booleans or nulls, got 'a'"),
        (item(type="categorical", choices="[]"), "choices of 'x' must be a list"),
        (item(type="categorical", choices="[a, a]"), "choice `a` 2 times"),
        (item(type="categorical", choices="[a, b]", weights="[1, 2]"), "weights of 'x' must be absent"),
        (item(type="categorical", choices="[a, b]", default_value="c"), "default"),
        (item(type="constant"), "'x' must have 'value', a string, number, boolean or null"),
        ("hyperparameters: [{name: x", "expected ',' or '}'"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_hyperparameters_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    one = "{name: x, type: uniform_float, lower: 0, upper: 1}"
    path.write_text(f"hyperparameters: [{one}, {one}]")
    with pytest.raises(SpaceError, match="'x'"):
        load_space(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.yaml", None, "cannot be read: No such file or directory"),
        ("bytes.yaml", b"\xff\xfe\x00", "utf-8"),
        ("cut.json", b'{"hyperparameters": [', "Expecting value"),
        (
            "twice.json",
            b'{"hyperparameters": [], "hyperparameters": []}',
            "key 'hyperparameters' is there twice",
        ),
    ],
)
def test_an_unreadable_file(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpaceError) as caught:
        load_space(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_step_without_a_default_starts_on_the_grid(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(item(type="uniform_int", lower=32, upper=512, meta="{step: 32}"))
    space = load_space(path)
    assert initial_settings(space) == {"x": 288}
    UnitCube(to_distributions(space)).encode(initial_settings(space))


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(-1.0, 1.0),
        FloatDistribution(1e-7, 1.0, log=True),
        FloatDistribution(0.0, 3.0, step=1.0),
        FloatDistribution(0.0, 1.0, step=0.1),
        IntDistribution(-3, 3),
        IntDistribution(1, 100, log=True),
        IntDistribution(3, 9, step=2),
        CategoricalDistribution(["a", None, 2, 1.5, True]),
    ],
)
def test_distributions_come_back_from_configspace(distribution: BaseDistribution) -> None:
    space = to_configspace({"x": distribution})
    assert to_distributions(space) == {"x": distribution}
    assert to_distributions(space_from_json(space_to_json(space))) == {"x": distribution}


def test_a_single_value_becomes_a_constant() -> None:
    space = to_configspace({"a": IntDistribution(3, 3), "b": CategoricalDistribution(["only"])})
    assert to_distributions(space) == {
        "a": CategoricalDistribution([3]),
        "b": CategoricalDistribution(["only"]),
    }


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (FloatDistribution(1e-15, 1.0), "13 decimals"),
        (FloatDistribution(1e-20, 1e-15, log=True), "ConfigSpace cannot hold"),
        (CategoricalDistribution([1, True]), "ConfigSpace cannot hold"),
    ],
)
def test_what_configspace_cannot_hold(distribution: BaseDistribution, message: str) -> None:
    with pytest.raises(SpaceError, match=f"x: .*{message}"):
        to_configspace({"x": distribution})


def test_equal_spaces_give_equal_json() -> None:
    text = space_to_json(paper_space())
    assert space_to_json(space_from_json(text)) == text
    assert space_from_json(text) == paper_space()
    assert "version" not in text.replace("format_version", "")


def conditional_space() -> ConfigurationSpace:
    space = ConfigurationSpace()
    parent = CategoricalHyperparameter("parent", ["a", "b"])
    child = UniformFloatHyperparameter("child", 0, 1)
    space.add(parent, child)
    space.add(EqualsCondition(child, parent, "a"))
    return space


def space_of(hyperparameter: Any) -> ConfigurationSpace:
    space = ConfigurationSpace()
    space.add(hyperparameter)
    return space


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (ConfigurationSpace(), "a search space must have at least one hyperparameter"),
        (conditional_space(), "conditions and forbidden clauses are not supported"),
        (space_of(NormalFloatHyperparameter("x", 0, 1, lower=-1, upper=1)), "x: Normal.* is not supported"),
        (space_of(CategoricalHyperparameter("x", ["a", "b"], weights=[1, 2])), "x: .* without weights"),
    ],
)  # fmt: skip
def test_what_optuna_has_no_distribution_for(space: ConfigurationSpace, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        to_distributions(space)

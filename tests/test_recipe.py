"""An experiment survives as JSON, or says that it cannot."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from hpo_gn import Experiment, make_objective
from hpo_gn.errors import StudyError, UnknownNameError
from hpo_gn.measures import MeanLoss
from hpo_gn.recipe import from_recipe, to_recipe
from hpo_gn.space import paper_space


def experiment(**changes):
    settings = {"data": "digits", "model": "mlp", "space": paper_space()} | changes
    return Experiment(**({"objective": make_objective("val-loss")} | settings))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"objective": make_objective("agn-val", alpha=0.25, normalized=True, agn="sampled")},
        {"objective": make_objective("agn-train", gated=True)},
        {"objective": make_objective("one-deviation", deviation=0.5, gated=True)},
        {"model": None, "training": "own:Own"},
        {"searcher": "bohb", "epochs": 9, "min_epochs": 1, "eta": 3, "from_scratch": True},
        {"charge": "measures", "gpus": 2, "threads": 3, "fraction": 0.5, "seed": 7},
    ],
)
def test_an_experiment_comes_back_through_json(changes):
    made = experiment(**changes)
    back = from_recipe(json.loads(json.dumps(to_recipe(made))))
    for field in fields(Experiment):
        assert getattr(back, field.name) == getattr(made, field.name), field.name
    assert back.identity() == made.identity()


def test_where_data_lie_is_each_machines_own_business():
    recipe = to_recipe(experiment(data_root=Path("/here")))
    assert "/here" not in json.dumps(recipe)
    assert from_recipe(recipe, data_root=Path("/there")).data_root == Path("/there")


@dataclass(frozen=True)
class Own:
    """An objective that no package registers."""

    weight: float = 1.0
    measures = (MeanLoss("validation"),)

    def __call__(self, history):
        return self.weight * history.last("val_loss")


@dataclass(frozen=True)
class Composed(Own):
    of: Own = Own()


def test_an_objective_of_ones_own_is_named_by_its_module():
    recipe = to_recipe(experiment(objective=Own(2.0)))
    assert recipe["objective"] == {"name": f"{__name__}:Own", "settings": {"weight": 2.0}}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": lambda shape, classes: None},
        {"model": None, "training": lambda config, splits, epochs, seed: None},
        {"objective": lambda history: 0.0},
        {"objective": Composed(of=Own(3.0))},
    ],
    ids=["model", "training", "a function for an objective", "an objective made of objectives"],
)
def test_objects_without_a_name_have_no_recipe(changes):
    assert to_recipe(experiment(**changes)) is None


def test_a_recipe_of_another_version_is_refused():
    recipe = to_recipe(experiment())
    del recipe["eta"]
    with pytest.raises(StudyError, match=r"another version of hpo_gn, which differs in: eta, novelty"):
        from_recipe(recipe | {"novelty": 1})


def test_a_plugin_that_is_missing_here_is_named():
    recipe = to_recipe(experiment())
    recipe["objective"]["name"] = "val-los"
    with pytest.raises(UnknownNameError, match="did you mean 'val-loss'"):
        from_recipe(recipe)

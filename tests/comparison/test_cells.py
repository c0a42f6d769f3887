import re
import shlex

import pytest

from hpo_gn.comparison.cells import make_cells, pick
from hpo_gn.comparison.result import Labels
from hpo_gn.comparison.spec import read_spec
from hpo_gn.errors import SpecError, UnknownNameError
from tests.comparison.written import write_spec

AGN = {"name": "agn-val", "alpha": 1e-3}


def cells(folder, **changes):
    return make_cells(read_spec(write_spec(folder, **changes)))


def test_every_combination_is_a_cell_and_all_methods_come_before_the_next_seed(tmp_path):
    made = cells(tmp_path, objective=["val-loss", AGN], searcher=["random", "cma-es"], seed=[5, 2])
    assert [(cell.labels.seed, cell.labels.objective, cell.labels.searcher) for cell in made] == [
        (seed, objective, searcher)
        for seed in (5, 2)
        for objective in ("val-loss", "agn-val(alpha=0.001)")
        for searcher in ("random", "cma-es")
    ]


def test_a_cell_has_its_experiment_a_readable_name_and_the_command_that_runs_it(tmp_path):
    pruner = {"name": "give-up", "signal": "s-f", "shadows": 0.5}
    (cell,) = cells(tmp_path, objective=AGN, pruner=pruner, seed=[4], fraction=0.5)
    assert cell.labels == Labels(
        "agn-val(alpha=0.001)", "random", "give-up(signal='s-f', shadows=0.5)", "mlp", "digits", 4
    )
    experiment = cell.experiment
    assert (experiment.objective.alpha, experiment.pruner, experiment.signal) == (1e-3, "give-up", "s-f")
    assert (experiment.shadows, experiment.fraction, experiment.epochs, experiment.seed) == (0.5, 0.5, 4, 4)
    assert cell.name == "mlp/digits/agn-val,alpha=0.001/random/give-up,signal=s-f,shadows=0.5/seed-4"
    assert cell.study == f"small/{cell.name}"
    path = str(tmp_path / "small.yaml")
    assert shlex.split(cell.command) == ["hpo-gn", "compare", path, "--only", cell.name]


def test_what_a_specification_adds_leaves_the_other_cells_as_they_are(tmp_path):
    few = cells(tmp_path)
    many = {cell.name: cell for cell in cells(tmp_path, objective=[AGN, "val-loss"], seed=3)}
    assert len(many) == 6
    for cell in few:
        assert many[cell.name].experiment.identity() == cell.experiment.identity()


def test_a_pruners_settings_are_not_those_of_cells_without_one(tmp_path):
    made = cells(tmp_path, pruner=["none", {"name": "give-up", "shadows": 0.5}])
    assert [cell.experiment.shadows for cell in made] == [None, 0.5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "digit"}, "no data set is called 'digit'; did you mean 'digits'?"),
        ({"model": "lenet"}, "no model is called 'lenet'; did you mean 'lenet5'?"),
        ({"searcher": ["random", "cma"]}, "no searcher is called 'cma'; did you mean 'cma-es'?"),
        ({"pruner": "give-in"}, "no pruner is called 'give-in'; did you mean 'give-up'?"),
        ({"objective": "val-los"}, "no objective is called 'val-los'; did you mean 'val-loss'?"),
        ({"objective": {"name": "agn-val", "alpha": -1}}, "alpha must be a finite number, 0 or more, got -1"),
        (
            {"objective": ["agn-val", {"name": "agn-val", "alpha": 1e-4}]},
            "objective agn-val and agn-val(alpha=0.0001) are the same",
        ),
        ({"pruner": {"name": "median", "signal": "s-f"}}, "signal must be left out"),
        ({"pruner": {"name": "give-up", "shadows": 2}}, "shadows must be from 0 to 1, got 2"),
        ({"budget": 3}, "searcher random: the budget does not pay a single trial; a budget of at least 4"),
        (
            {"charge": "measures", "budget": 7},
            "the budget does not pay a single trial; a budget of at least 8",
        ),
        ({"eta": 1}, "eta must be 2 or more, got 1"),
        (
            {"seed": 10_000, "objective": [{"name": "agn-val", "alpha": [i / 100 for i in range(11)]}]},
            "the product has 110,000 cells; at most 100,000 are compared",
        ),
    ],
)
def test_what_no_cell_can_be_made_of_is_one_line_with_the_file(tmp_path, changes, message):
    with pytest.raises(SpecError, match=re.escape(message)) as raised:
        cells(tmp_path, **changes)
    assert str(raised.value).startswith(f"{tmp_path / 'small.yaml'}: ")


def test_cells_are_picked_by_name(tmp_path):
    made = cells(tmp_path, seed=3)
    assert pick(made, []) == made
    assert pick(made, [made[2].name, made[0].name, made[2].name]) == [made[2], made[0]]
    with pytest.raises(UnknownNameError, match=r"no cell is called 'mlp/.*'; did you mean"):
        pick(made, ["mlp/digits/val-loss/random/none/seed-3"])

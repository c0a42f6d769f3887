import pytest
import torch
from torch import nn

from hpo_gn.errors import ModelError
from hpo_gn.measures import AGN, GN, GSNR, SameSign, measure
from hpo_gn.measures.gradients import check_samples_are_apart
from hpo_gn.measures.gradients.plan import every, plan, whole


class WithParameter(nn.Module):
    """Holds a parameter beside other modules."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.body = nn.Sequential(*modules)


SHARED = nn.Linear(2, 2)

MODELS = {
    "layers of their own": (
        nn.Sequential(
            nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2, bias=False))
        ),
        [
            ("0", True, ["weight", "bias"]),
            ("2.0", True, ["weight", "bias"]),
            ("2.1", True, ["weight"]),
        ],
    ),
    "one layer": (nn.Linear(2, 2), [("", True, ["weight", "bias"])]),
    "an outermost module that holds parameters": (
        nn.Sequential(WithParameter(nn.Linear(2, 2), nn.PReLU()), nn.Linear(2, 2)),
        [
            ("0", False, ["scale", "body.0.weight", "body.0.bias", "body.1.weight"]),
            ("1", True, ["weight", "bias"]),
        ],
    ),
    "frozen parameters": (
        nn.Sequential(
            nn.Linear(2, 2).requires_grad_(False), nn.PReLU().requires_grad_(False), nn.Linear(2, 2)
        ),
        [("2", True, ["weight", "bias"])],
    ),
    "a layer in two modules": (
        nn.Sequential(nn.Sequential(SHARED), nn.Sequential(SHARED, nn.LayerNorm(2, bias=False))),
        [("0.0", True, ["weight", "bias"]), ("1.1", True, ["weight"])],
    ),
    "a layer twice inside a module that holds parameters": (
        WithParameter(SHARED, SHARED),
        [("", False, ["scale", "body.0.weight", "body.0.bias"])],
    ),
}


@pytest.mark.parametrize(("model", "expected"), MODELS.values(), ids=MODELS)
def test_a_model_is_divided_into_layers_and_outermost_modules_that_hold_parameters(model, expected):
    units = plan(model, every)
    assert [(unit.name, unit.has_form, list(unit.parameters)) for unit in units] == expected
    for unit in units:
        assert unit.module is model.get_submodule(unit.name)
        for name, parameter in unit.parameters.items():
            assert parameter is unit.module.get_parameter(name)


def test_only_what_is_wanted_is_in_it():
    model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.LayerNorm(2), WithParameter(nn.Linear(2, 2)))
    units = plan(model, lambda layer, name: name == "weight" and isinstance(layer, nn.Linear | nn.Conv1d))
    assert [(unit.name, list(unit.parameters)) for unit in units] == [
        ("0", ["weight"]),
        ("2", ["body.0.weight"]),
    ]


@pytest.mark.parametrize(("model", "expected"), MODELS.values(), ids=MODELS)
def test_the_whole_model_has_the_same_parameters_each_once(model, expected):
    (unit,) = whole(model, plan(model, every))
    assert (unit.name, unit.module, unit.has_form) == ("", model, False)
    trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
    assert unit.parameters == trained


@pytest.mark.parametrize("model", [nn.ReLU(), nn.Linear(2, 2).requires_grad_(False)])
def test_a_model_without_parameters_to_measure_is_refused(model):
    with pytest.raises(ModelError) as error:
        plan(model, every)
    kind = type(model).__name__
    assert str(error.value) == f"no parameter of {kind} that is measured requires gradients"


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm1d(4, track_running_stats=False),
        nn.BatchNorm1d(4),
        nn.BatchNorm3d(4),
        nn.SyncBatchNorm(4),
    ],
    ids=repr,
)
def test_a_layer_that_mixes_samples_is_refused_and_named(layer):
    tracked = layer.track_running_stats
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(layer))
    with pytest.raises(ModelError) as error:
        check_samples_are_apart(model.train(tracked))
    assert str(error.value) == (
        f"layer '1.0' ({type(layer).__name__}) uses the batch's own statistics, "
        "so that no sample has a gradient of its own"
    )
    if tracked:
        check_samples_are_apart(model.eval())


@pytest.mark.parametrize("kind", [AGN, GN, GSNR, SameSign])
def test_no_measure_of_single_samples_takes_such_a_model(kind):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3))
    with pytest.raises(ModelError, match="layer '1' \\(BatchNorm1d\\) uses the batch's own statistics"):
        measure(model, (torch.randn(5, 4), torch.zeros(5, dtype=torch.int64)), [kind()])

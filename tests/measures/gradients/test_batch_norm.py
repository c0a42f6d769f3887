import copy

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import ModelError
from hpo_gn.measures.gradients.batch_norm import as_affine_maps, with_statistics_of_one_sample

LAYERS = {
    "sequences": (lambda: nn.BatchNorm1d(3), (3, 5)),
    "images": (lambda: nn.BatchNorm2d(3, eps=0.1), (3, 4, 5)),
    "volumes": (lambda: nn.BatchNorm3d(3, momentum=None), (3, 2, 3, 2)),
    "without scale and shift": (lambda: nn.BatchNorm2d(3, affine=False), (3, 4, 5)),
}
WITH_VECTORS = LAYERS | {"vectors": (lambda: nn.BatchNorm1d(3), (3,))}


def prepared(make, shape) -> tuple[nn.BatchNorm1d, Tensor]:
    """A float64 layer with statistics of its own, and inputs for it."""
    torch.manual_seed(0)
    layer = make().double()
    if layer.track_running_stats:
        nn.init.normal_(layer.running_mean)
        nn.init.uniform_(layer.running_var, 0.5, 2)
    if layer.affine:
        nn.init.uniform_(layer.weight, 0.5, 1.5)
        nn.init.normal_(layer.bias)
    return layer, torch.randn(6, *shape).double().requires_grad_()


def gradient(outputs: Tensor, inputs: Tensor) -> Tensor:
    torch.manual_seed(1)
    (result,) = torch.autograd.grad(outputs, inputs, torch.randn_like(outputs))
    return result


def differ(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize(("make", "shape"), WITH_VECTORS.values(), ids=WITH_VECTORS)
def test_affine_maps_give_the_same_numbers_and_gradients(make, shape):
    layer, inputs = prepared(make, shape)
    layer.eval()
    expected = layer(inputs)
    with as_affine_maps(nn.Sequential(layer)):
        outputs = layer(inputs)
        with torch.no_grad():
            assert torch.equal(layer(inputs), expected)
    assert torch.equal(outputs, expected)
    assert differ(gradient(outputs, inputs), gradient(expected, inputs)) < 1e-14


@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)
def test_statistics_of_one_sample_are_those_of_train_mode_one_at_a_time(make, shape):
    layer, inputs = prepared(make, shape)
    alone = copy.deepcopy(layer).train()
    expected = torch.cat([alone(each) for each in inputs.split(1)])
    before = copy.deepcopy(layer.state_dict())
    with with_statistics_of_one_sample(nn.Sequential(layer)):
        outputs = layer(inputs)
    assert differ(outputs, expected) < 1e-14
    assert differ(gradient(outputs, inputs), gradient(expected, inputs)) < 1e-14
    after = layer.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_statistics_of_one_sample_need_no_running_ones():
    layer, inputs = prepared(lambda: nn.BatchNorm2d(3, track_running_stats=False), (3, 4, 5))
    expected = torch.cat([layer(each) for each in inputs.split(1)])
    with with_statistics_of_one_sample(layer):
        assert differ(layer(inputs), expected) < 1e-14


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_value_a_channel_has_no_statistics(shape):
    model = nn.Sequential(nn.Identity(), nn.BatchNorm1d(3))
    with with_statistics_of_one_sample(model), pytest.raises(ModelError) as error:
        model(torch.randn(6, *shape))
    assert str(error.value) == (
        "layer '1' (BatchNorm1d) gets one value a channel, of which one sample has no statistics"
    )


class WithActivation(nn.BatchNorm2d):
    """A batch norm that does more, as some libraries have."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).relu()


def test_a_layer_that_does_more_keeps_doing_it():
    layer, inputs = prepared(lambda: WithActivation(3), (3, 4, 5))
    expected = layer.eval()(inputs)
    with as_affine_maps(layer):
        assert torch.equal(layer(inputs), expected)


@pytest.mark.parametrize("layer", [WithActivation(3), nn.SyncBatchNorm(3)])
def test_one_that_may_do_more_cannot_have_statistics_of_one_sample(layer):
    model = nn.Sequential(layer)
    message = rf"layer '0' \({type(layer).__name__}\)"
    with pytest.raises(ModelError, match=message), with_statistics_of_one_sample(model):
        model(torch.randn(6, 3, 4, 5))


EACH = pytest.mark.parametrize("context", [as_affine_maps, with_statistics_of_one_sample])


@EACH
@pytest.mark.parametrize("fails", [False, True])
def test_layers_are_left_as_they_were_found(context, fails, state):
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm2d(3).eval(), nn.ReLU())
    before = state(model)
    with pytest.raises(ZeroDivisionError) if fails else context(model), context(model):
        assert state(model)["attributes"] != before["attributes"]
        assert 1 / (0 if fails else 1)
    assert state(model) == before


def test_a_layer_with_a_forward_of_its_own_keeps_it():
    """As those of libraries that move layers between devices."""
    layer = nn.BatchNorm2d(3).eval()
    layer.forward = forward = lambda inputs: inputs
    with as_affine_maps(layer):
        assert layer.forward is forward
    with (
        pytest.raises(ModelError, match=r"layer '0' \(BatchNorm2d\)"),
        with_statistics_of_one_sample(nn.Sequential(layer.train())),
    ):
        layer(torch.randn(6, 3, 4, 5))
    assert vars(layer)["forward"] is forward


def test_each_concerns_its_own_mode_alone():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3).eval())
    with as_affine_maps(model):
        assert ["forward" in vars(layer) for layer in model] == [False, True]
    with with_statistics_of_one_sample(model):
        assert ["forward" in vars(layer) for layer in model] == [True, False]
    with with_statistics_of_one_sample(model), as_affine_maps(model):
        assert model[0](torch.tensor([[[0.0, 2]] * 3])).tolist() == [[pytest.approx([-1, 1], rel=1e-4)] * 3]

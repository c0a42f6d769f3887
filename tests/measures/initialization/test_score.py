"""What all scores at initialization have in common."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from hpo_gn.errors import ArgumentError, ModelError, NonFiniteError
from hpo_gn.measures import AGN, GN, Batch, MeanLoss, Measure, measure
from hpo_gn.measures.initialization import (
    NASWOT,
    Fisher,
    GradNorm,
    Grasp,
    JacobCov,
    ParameterCount,
    Snip,
    SynFlow,
)
from hpo_gn.measures.sharpness import Sharpness

COLUMNS = {
    GradNorm: "grad_norm",
    Snip: "snip",
    Grasp: "grasp",
    Fisher: "fisher",
    SynFlow: "synflow",
    NASWOT: "naswot",
    JacobCov: "jacob_cov",
    ParameterCount: "params",
}
OF_THE_LOSS = [GradNorm, Snip, Grasp, Fisher]
OF_THE_WEIGHTS = [*OF_THE_LOSS, SynFlow]
PASSES = [*OF_THE_WEIGHTS, NASWOT, JacobCov]

every_score = pytest.mark.parametrize("kind", COLUMNS)
scores_of_weights = pytest.mark.parametrize("kind", OF_THE_WEIGHTS)
scores_of_passes = pytest.mark.parametrize("kind", PASSES)


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)
    ).double()


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(10, 8, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (10,), generator=generator)


@every_score
def test_it_is_a_value_and_a_measure_with_one_column(kind, net, data):
    assert isinstance(kind(), Measure)
    assert kind() == kind()
    assert kind(seed=1) != kind()
    assert hash(kind(32)) == hash(kind(32))
    assert repr(kind(32)) == f"{kind.__name__}(samples=32, seed=0, split='train')"
    assert kind.__doc__.startswith(f"Column `{COLUMNS[kind]}`")
    row = measure(net, data, [kind()])
    assert list(row) == [COLUMNS[kind]]
    assert type(row[COLUMNS[kind]]) is float


def test_scores_of_different_kinds_differ_though_their_arguments_agree():
    assert len({kind() for kind in COLUMNS}) == len(COLUMNS)


@scores_of_passes
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples must be a positive integer, got 0"),
        ({"samples": None}, "samples must be a positive integer, got None"),
        ({"samples": 2.5}, "samples must be a positive integer, got 2.5"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_arguments_out_of_their_range_are_refused(kind, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        kind(**arguments)


def state(model):
    """All that a score could leave changed."""
    tensors = [*model.parameters(), *model.buffers()]
    return {
        "objects": [id(tensor) for tensor in tensors],
        "values": [tensor.detach().clone() for tensor in tensors],
        "versions": [tensor._version for tensor in tensors],
        "gradients": [parameter.grad for parameter in model.parameters()],
        "flags": [tensor.requires_grad for tensor in tensors],
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "attributes": [set(vars(module)) for module in model.modules()],
        "random": (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),
        "recording": torch.is_grad_enabled(),
    }


def assert_same(before, after):
    for one, other in zip(before.pop("values"), after.pop("values"), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(before.pop("gradients"), after.pop("gradients"), strict=True):
        assert one is other
    assert before == after


@every_score
def test_it_leaves_the_model_as_it_found_it(kind, net, data):
    cross_entropy(net(data[0]), data[1]).backward()
    net[4].weight.requires_grad_(False)
    net[1].eval()
    before = state(net)
    measure(net, data, [kind()])
    assert_same(before, state(net))


@scores_of_passes
def test_it_needs_no_pass_around_it_for_that(kind, net, data):
    with torch.no_grad():
        logits = net.eval()(data[0])
    each = kind()
    before = state(net)
    each.update(Batch(net, *data, logits, cross_entropy(logits, data[1], reduction="none")))
    each.compute()
    assert_same(before, state(net))


class FailsInTraining(nn.Module):
    """The identity, which fails in train mode and after all else has run."""

    def forward(self, inputs):
        if self.training:
            raise RuntimeError("no training")
        return inputs


@scores_of_passes
def test_it_leaves_the_model_as_it_found_it_when_the_model_fails(kind, net, data):
    model = nn.Sequential(net, FailsInTraining())
    before = state(model)
    with pytest.raises((RuntimeError, ModelError), match="no training"):
        measure(model, data, [kind()])
    assert_same(before, state(model))


@scores_of_passes
def test_dropout_is_drawn_from_the_seed(kind, net, data):
    first = measure(net, data, [kind()])
    torch.randn(7)
    assert measure(net, data, [kind()]) == first
    if kind is not NASWOT:  # its only ReLU comes before dropout
        assert measure(net, data, [kind(seed=3)]) != first


@every_score
def test_it_sees_a_fixed_subset_in_one_batch_however_the_split_comes(kind, net, data):
    inputs, targets = data
    batches = list(zip(inputs.split(3), targets.split(3), strict=True))
    whole = measure(net, data, [kind(samples=6)])
    assert measure(net, batches, [kind(samples=6)]) == whole


@every_score
def test_measures_that_share_its_walk_change_nothing(kind, net, data):
    others = [AGN(samples=8), GN(samples=8), Sharpness(samples=8, iterations=1)]
    alone = measure(net, data, [kind(samples=8)]), measure(net, data, others)
    together = measure(net, data, [kind(samples=8), *others, MeanLoss("train")])
    assert together[COLUMNS[kind]] == alone[0][COLUMNS[kind]]
    assert {name: together[name] for name in alone[1]} == alone[1]


@pytest.mark.parametrize("kind", [GradNorm, JacobCov])
def test_a_mini_batch_that_a_shared_walk_cuts_is_joined_again(kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(600, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    data = torch.randn(500, 600).double(), torch.randint(3, (500,))
    alone = measure(model, data, [kind(samples=400)])
    together = measure(model, data, [GN(samples=400), kind(samples=400)])
    assert together[COLUMNS[kind]] == alone[COLUMNS[kind]]


@scores_of_weights
def test_frozen_weights_do_not_count(kind, net, data):
    whole = measure(net, data, [kind()])[COLUMNS[kind]]
    parts = []
    for frozen, free in ((net[0], net[4]), (net[4], net[0])):
        free.requires_grad_(True)
        frozen.requires_grad_(False)
        parts.append(measure(net, data, [kind()])[COLUMNS[kind]])
    if kind is not Grasp:  # whose Hessian mixes the layers
        assert sum(parts) == pytest.approx(whole, rel=1e-12, abs=0)
    assert 0 != parts[0] != parts[1] != 0


@scores_of_weights
def test_a_weight_that_two_layers_share_counts_once(kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double()
    model[2].weight, model[2].bias = model[0].weight, model[0].bias
    one_layer = nn.Sequential(model[0], nn.Tanh(), model[0])
    data = torch.randn(5, 4).double(), torch.randint(4, (5,))
    assert measure(model, data, [kind()]) == measure(one_layer, data, [kind()])


@pytest.mark.parametrize("kind", OF_THE_LOSS)
def test_the_loss_may_be_another(kind, net, data):
    def squared_error(logits, targets):
        return (logits - one_hot(targets, 3)).square().mean(dim=1)

    other = measure(net, data, [kind()], loss=squared_error)[COLUMNS[kind]]
    assert other != pytest.approx(measure(net, data, [kind()])[COLUMNS[kind]], rel=0.01)


@every_score
def test_single_precision_agrees_with_double(kind, net, data):
    net[3].p = 0.0  # masks of another dtype are others
    expected = measure(net, data, [kind()])[COLUMNS[kind]]
    single = measure(copy.deepcopy(net).float(), (data[0].float(), data[1]), [kind()])[COLUMNS[kind]]
    assert single == pytest.approx(expected, rel=0.05 if kind is JacobCov else 1e-4)


@every_score
def test_half_precision_runs(kind, net, data):
    model, inputs = copy.deepcopy(net).bfloat16(), data[0].bfloat16()
    assert measure(model, (inputs, data[1]), [kind()])[COLUMNS[kind]] != 0


@scores_of_weights
@pytest.mark.parametrize("freeze", [True, False])
def test_a_model_without_weights_is_refused(kind, freeze, data):
    model = nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 3, 3), nn.AdaptiveMaxPool1d(1), nn.Flatten())
    if freeze:
        model.append(nn.Linear(3, 3).requires_grad_(False))
    message = "Sequential has no Conv2d or Linear layer whose weight requires gradients"
    with pytest.raises(ModelError, match=message):
        measure(model.double(), data, [kind()])


@scores_of_weights
def test_a_weight_that_is_computed_is_named(kind, net, data):
    nn.utils.parametrizations.weight_norm(net[4])
    with pytest.raises(ModelError, match="weight of layer '4' must be a parameter, got a computed tensor"):
        measure(net, data, [kind()])


class WithoutGradients(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs):
        with torch.no_grad():
            return self.model(inputs)


@pytest.mark.parametrize("kind", [*OF_THE_WEIGHTS, JacobCov])
def test_a_model_that_autograd_cannot_follow_is_refused(kind, net, data):
    message = "the model's output must be differentiable, got one that requires no gradients"
    with pytest.raises(ModelError, match=message):
        measure(WithoutGradients(net), data, [kind()])


@pytest.mark.parametrize("kind", [*OF_THE_LOSS, NASWOT, JacobCov])
def test_a_batch_norm_that_gets_one_sample_is_named(kind, net, data):
    message = r"batch norm '1' needs more than one value a channel in train mode, got inputs \[1, 16\]"
    with pytest.raises(ModelError, match=message):
        measure(net, data, [kind(samples=1)])


@pytest.mark.parametrize("kind", [GradNorm, Snip, Grasp, NASWOT])
def test_tokens_may_come_by_name_where_inputs_are_not_differentiated(kind, transformer):
    model, tokens, targets = transformer
    by_name = measure(model, [{"tokens": tokens, "labels": targets}], [kind()])
    assert by_name == measure(model, [(tokens, targets)], [kind()])


@pytest.mark.parametrize("kind", [SynFlow, JacobCov])
def test_tokens_by_name_are_refused_elsewhere(kind, transformer):
    model, tokens, targets = transformer
    message = f"{COLUMNS[kind]} needs inputs that are one tensor, got tensors by name: tokens"
    with pytest.raises(ModelError, match=message):
        measure(model, [{"tokens": tokens, "labels": targets}], [kind()])


@scores_of_passes
@pytest.mark.parametrize(("layer", "value"), [("0", torch.nan), ("4", torch.inf)])
def test_a_layer_that_is_not_finite_is_named(kind, layer, value, net, data):
    with torch.no_grad():
        net.get_submodule(layer).weight[0, 0] = value
    with pytest.raises(NonFiniteError, match=f"the output of layer '{layer}' is not finite"):
        measure(net, data, [kind()])
    assert measure(net, data, [ParameterCount()])["params"] == 227


class BadGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        return inputs.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.nan


class Bad(nn.Module):
    def forward(self, inputs):
        return BadGradient.apply(inputs)


@pytest.mark.parametrize("kind", [*OF_THE_WEIGHTS, JacobCov])
def test_a_gradient_that_is_not_finite_is_named(kind, net, data):
    net.insert(1, Bad())
    column = COLUMNS[kind]
    with pytest.raises(
        NonFiniteError, match=f"{column} must be finite, got nan: the gradient of layer '0' is not finite"
    ):
        measure(net, data, [kind()])


class NaNInTraining(nn.Module):
    def forward(self, inputs):
        return inputs * torch.nan if self.training else inputs


@scores_of_passes
def test_a_model_that_is_finite_only_in_evaluation_mode_is_refused(kind, net, data):
    with pytest.raises(NonFiniteError, match=f"{COLUMNS[kind]} must be finite, got nan"):
        measure(nn.Sequential(net, NaNInTraining()), data, [kind()])


@scores_of_passes
def test_without_a_batch_it_is_not_a_number(kind):
    assert str(kind().compute()[COLUMNS[kind]]) == "nan"


@every_score
def test_nothing_is_kept_of_an_earlier_pass(kind, net, data):
    inputs, targets = data
    each = kind()
    measure(net, (2 * inputs[:5], targets[:5]), [each])
    if kind is not ParameterCount:
        with pytest.raises(NonFiniteError):
            measure(net, (inputs * torch.nan, targets), [each])
    assert measure(net, data, [each]) == measure(net, data, [kind()])

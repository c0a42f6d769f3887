import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import ModelError
from hpo_gn.measures import cross_entropy, landscape
from hpo_gn.measures.landscape import Landscape


@pytest.fixture
def model(head) -> nn.Module:
    built: nn.Module = head().eval()
    return built


def around(model: nn.Module, inputs, targets: Tensor, loss=cross_entropy) -> Landscape:
    whole = Landscape(model, loss)
    whole.add(inputs, targets)
    return whole


def bits(model: nn.Module) -> dict[str, bytes]:
    """Each parameter and buffer, byte by byte."""
    state = model.state_dict().items()
    return {name: bytes(value.flatten().view(torch.uint8).tolist()) for name, value in state}


def test_it_is_the_mean_loss_and_its_gradient_at_moved_parameters(model, samples):
    whole = around(model, *samples)
    step = torch.linspace(-0.1, 0.1, len(whole.x), dtype=torch.float64)
    value, gradient = whole(step)
    nn.utils.vector_to_parameters(whole.x + step, model.parameters())
    expected = cross_entropy(model(samples[0]), samples[1]).mean()
    gradients = torch.autograd.grad(expected, list(model.parameters()))
    assert value == pytest.approx(expected.item(), rel=1e-14)
    torch.testing.assert_close(gradient, nn.utils.parameters_to_vector(gradients), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("size", [1, 5, 13])
def test_pieces_give_what_all_samples_at_once_give(model, samples, size, monkeypatch):
    expected_value, expected = around(model, *samples)(torch.tensor(0.01).expand(63).double())
    monkeypatch.setattr(landscape, "_PIECE", size)
    value, gradient = around(model, *samples)(torch.tensor(0.01).expand(63).double())
    assert value == pytest.approx(expected_value, rel=1e-12)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_no_more_samples_than_a_piece_are_in_the_model_at_once(model):
    seen = []
    model.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    whole = around(model, torch.randn(300, 4).double(), torch.zeros(300, dtype=torch.int64))
    whole(torch.zeros_like(whole.x))
    assert seen == [128, 128, 44]


def test_everything_is_as_before(model, samples):
    with torch.no_grad():
        model.head.bias[0] = -0.0
        model.head.bias[1] = 1e-320  # denormal
    model.head.weight.grad = torch.ones_like(model.head.weight)
    model.body[0].weight.requires_grad_(False)
    before, flags = bits(model), [parameter.requires_grad for parameter in model.parameters()]
    whole = around(model, *samples)
    whole(torch.full_like(whole.x, 0.3))
    assert bits(model) == before
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert torch.equal(model.head.weight.grad, torch.ones_like(model.head.weight))
    assert all(each.grad is None for each in model.parameters() if each is not model.head.weight)
    assert not model.training


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["forward", "backward", "loss"])
def test_everything_is_as_before_when_the_model_raises(model, samples, where, error, monkeypatch):
    def fail(*args: object) -> None:
        raise error("midway")

    loss = fail if where == "loss" else cross_entropy
    monkeypatch.setattr(landscape, "_PIECE", 5)
    whole = around(model, *samples, loss=loss)
    before = bits(model)
    if where == "forward":
        model.head.register_forward_hook(fail)
    if where == "backward":
        model.head.register_full_backward_hook(fail)
    with pytest.raises(error, match="midway"):
        whole(torch.full_like(whole.x, 0.3))
    assert bits(model) == before


def test_frozen_parameters_do_not_count(model, samples):
    model.body.requires_grad_(False)
    whole = around(model, *samples)
    assert len(whole.x) == sum(parameter.numel() for parameter in model.head.parameters())
    whole(torch.ones_like(whole.x))


def test_a_parameter_that_is_not_used_has_a_gradient_of_0(model, samples):
    model.extra = nn.Parameter(torch.ones(2).double())
    whole = around(model, *samples)
    _, gradient = whole(torch.zeros_like(whole.x))
    assert (gradient == 0).sum() == 2


class Named(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model(pixels)
        return logits


def test_inputs_may_come_by_name(model, samples):
    inputs, targets = samples
    zero = torch.zeros(63, dtype=torch.float64)
    assert (
        around(Named(model), {"pixels": inputs}, targets)(zero)[0] == around(model, inputs, targets)(zero)[0]
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_parameters_are_moved_in_float32_and_rounded(model, samples, dtype):
    model, inputs = model.to(dtype), samples[0].to(dtype)
    before = bits(model)
    whole = around(model, inputs, samples[1])
    value, gradient = whole(torch.full_like(whole.x, 0.01))
    assert whole.x.dtype == gradient.dtype == torch.float32
    assert bits(model) == before
    exact = around(model.double(), inputs.double(), samples[1])
    expected_value, expected = exact(torch.full_like(exact.x, 0.01))
    assert value == pytest.approx(expected_value, rel=0.02)
    assert torch.cosine_similarity(gradient.double(), expected, dim=0) > 0.99


def test_a_model_without_parameters_that_require_gradients_is_refused(model):
    model.requires_grad_(False)
    with pytest.raises(
        ModelError, match=r"^sharpness needs a parameter that requires gradients, and the model has none$"
    ):
        Landscape(model, cross_entropy)


def test_a_loss_that_depends_on_no_parameter_is_refused(model, samples):
    whole = around(model, *samples, loss=lambda logits, targets: targets.double())
    with pytest.raises(
        ModelError, match=r"^sharpness needs a loss that depends on a parameter that requires gradients$"
    ):
        whole(torch.zeros_like(whole.x))

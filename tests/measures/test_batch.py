import pytest
import torch
from torch import nn

from hpo_gn.errors import ModelError
from hpo_gn.measures import AGN, Batch, cross_entropy, measure


def test_cross_entropy_is_one_number_a_sample():
    logits, targets = torch.tensor([[0.0, 0.0], [0.0, 100.0]]), torch.tensor([0, 1])
    assert cross_entropy(logits, targets).tolist() == pytest.approx([0.693147, 0.0])


@pytest.mark.parametrize("watched", [False, True])
def test_a_measure_gets_tensors_without_gradients(watched, head, samples):
    seen = []

    class Look:
        split = "train"
        if watched:
            linear_layer = None

        def update(self, batch: Batch) -> None:
            seen.append((batch, torch.is_grad_enabled()))

        def compute(self) -> dict[str, float]:
            return {}

    model = head()
    measure(model, {"train": [samples]}, [Look()])
    ((batch, recording),) = seen
    assert not recording
    assert not batch.logits.requires_grad
    assert not batch.losses.requires_grad
    expected = model.eval()(samples[0])
    assert torch.equal(batch.logits, expected)
    assert torch.equal(batch.losses, cross_entropy(expected, samples[1]))
    assert torch.equal(batch.inputs, samples[0])
    assert torch.equal(batch.targets, samples[1])
    assert batch.bias is watched
    if watched:
        assert torch.equal(batch.features, model.body(samples[0]))
    else:
        assert batch.features is None


def test_squared_delta_norms_need_a_watched_layer(samples):
    inputs, targets = samples
    batch = Batch(nn.Identity(), inputs, targets, inputs, cross_entropy(inputs, targets))
    with pytest.raises(
        ValueError, match="squared_delta_norms needs a pass that watches the last linear layer"
    ):
        _ = batch.squared_delta_norms


class Detached(nn.Module):
    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.detach() * 2


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.ones(1, 3))

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(logits), 3)


@pytest.mark.parametrize("after", [Detached(), Constant()], ids=["no gradient", "another's gradient"])
def test_a_layer_that_the_loss_does_not_depend_on_is_refused(after, head, samples):
    with pytest.raises(ModelError) as error:
        measure(head(after), {"train": [samples]}, [AGN()])
    assert str(error.value) == "the loss does not depend on the watched linear layer's output"

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import ArgumentError, ModelError, UnknownNameError
from hpo_gn.measures import AGN, MeanLoss, Measure, OnlineAGN, cross_entropy, measure, read_in_training


def train(model: nn.Module, samples: tuple[Tensor, Tensor]) -> None:
    """An epoch of plain steps over batches of five, the last of three."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for inputs, targets in zip(samples[0].split(5), samples[1].split(5), strict=True):
        optimizer.zero_grad()
        cross_entropy(model(inputs), targets).mean().backward()
        optimizer.step()


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_agn_of_each_steps_samples_before_the_step(bias, reduction, net, samples):
    if not bias:
        net[2].bias = None
    online, expected = OnlineAGN(reduction=reduction), 0.0
    with online.during_training(net):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
        for inputs, targets in zip(samples[0].split(5), samples[1].split(5), strict=True):
            expected += measure(net, (inputs, targets), [AGN()])["agn"] * len(targets)
            optimizer.zero_grad()
            losses = cross_entropy(net(inputs), targets)
            (losses.mean() if reduction == "mean" else losses.sum()).backward()
            optimizer.step()
    assert online.compute() == {"agn_online": pytest.approx(expected / 13, rel=1e-9, abs=0)}


def test_it_is_asked_for_after_the_epoch_with_the_other_measures(net, samples):
    measures = [OnlineAGN(), MeanLoss("train")]
    with read_in_training(net, measures):
        train(net, samples)
    row = measure(net, samples, measures)
    assert list(row) == ["agn_online", "train_loss"]
    with read_in_training(net, measures):
        train(net, samples)
    assert measure(net, samples, measures)["agn_online"] < row["agn_online"]  # of one epoch, not of both


def test_passes_that_are_no_training_do_not_count(net, samples):
    alone, online = OnlineAGN(), OnlineAGN()
    with alone.during_training(net):
        train(net, samples)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    with online.during_training(net):
        net.eval()(samples[0]).sum().backward()
        net.zero_grad()
        measure(net, samples, [AGN()])
        with torch.no_grad():
            net.train()(samples[0])
        train(net, samples)
    assert online.compute() == alone.compute()


def test_it_leaves_training_and_the_model_as_they_are(head, samples, state):
    watched, plain = head().train(), head().train()
    before = state(watched)["hooks"]
    for model, measures in ((watched, [OnlineAGN()]), (plain, [])):
        torch.manual_seed(0)
        with read_in_training(model, measures):
            train(model, samples)
    assert state(watched)["hooks"] == before
    one, other = state(watched), state(plain)
    assert one["values"] == other["values"]
    with pytest.raises(ZeroDivisionError), OnlineAGN().during_training(watched):
        raise ZeroDivisionError
    assert state(watched)["hooks"] == before


def test_a_named_layer_is_read_instead_of_the_last(net, samples):
    first, last = OnlineAGN("0"), OnlineAGN()
    with read_in_training(net, [first, last]):
        train(net, samples)
    assert first.compute() != last.compute()


class Keyword(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model[2](input=self.model[:2](inputs))
        return logits


def test_the_layer_may_be_called_with_its_input_by_name(net, samples):
    online = OnlineAGN()
    with online.during_training(net):
        cross_entropy(Keyword(net)(samples[0]), samples[1]).mean().backward()
    assert online.compute() == {"agn_online": pytest.approx(measure(net, samples, [AGN()])["agn"])}


@pytest.mark.parametrize(("dtype", "digits"), [(torch.bfloat16, 0.05), (torch.float32, 1e-4)])
def test_other_dtypes_give_about_the_same(dtype, digits, net, samples):
    inputs, targets = samples
    expected, online = measure(net, samples, [AGN()])["agn"], OnlineAGN()
    net.to(dtype)
    with online.during_training(net):
        cross_entropy(net(inputs.to(dtype)), targets).mean().backward()
    assert online.compute()["agn_online"] == pytest.approx(expected, rel=digits)


class Averaged(nn.Module):
    """A linear layer at each of several positions."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3).double()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs[:, None].expand(-1, 5, -1)).mean(dim=1)


def test_a_layer_that_gets_more_than_one_vector_a_sample_is_refused(samples):
    model = Averaged()
    with OnlineAGN().during_training(model), pytest.raises(ModelError, match="one vector a sample"):
        train(model, samples)


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("hed", UnknownNameError, "no module of the model is called 'hed'; did you mean 'head'?"),
        ("body.2", ModelError, "layer 'body.2' must be an nn.Linear, got ReLU"),
    ],
)
def test_a_name_of_no_linear_layer_is_refused(layer, error, message, head):
    with pytest.raises(error) as raised, OnlineAGN(layer).during_training(head()):
        pass
    assert str(raised.value) == message


def test_an_epoch_without_steps_has_no_agn(net):
    online = OnlineAGN()
    with online.during_training(net):
        pass
    with pytest.raises(ModelError, match="agn_online saw no training step"):
        online.compute()


def test_it_is_a_value_and_a_measure():
    assert isinstance(OnlineAGN(), Measure)
    assert OnlineAGN("head") == OnlineAGN("head") != OnlineAGN()
    assert hash(OnlineAGN()) == hash(OnlineAGN())
    with pytest.raises(ArgumentError) as error:
        OnlineAGN(reduction="median")
    assert str(error.value) == "reduction must be 'mean' or 'sum', got 'median'"

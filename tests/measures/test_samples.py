"""The forms in which data come to `measure`, and models give logits."""

from collections import UserDict
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hpo_gn.errors import DataError, ModelError
from hpo_gn.measures import AGN, GN, GSNR, Accuracy, MeanLoss, SameSign, measure
from hpo_gn.measures.initialization import GradSign

MEASURES = [AGN(), GN(), GSNR(), SameSign(), MeanLoss("train"), Accuracy("train"), GradSign("eval"), GN(5)]


class Named(nn.Module):
    """Takes its inputs by name and gives an object, as Hugging Face's models do."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, shift: Tensor | None = None) -> SimpleNamespace:
        if shift is not None:
            features = features + shift[:, None]
        return SimpleNamespace(logits=self.model(features), hidden=features)


def named(
    samples: tuple[Tensor, Tensor], size: int, key: str = "labels", kind=dict
) -> list[dict[str, Tensor]]:
    return [
        kind({key: targets, "features": inputs})
        for inputs, targets in zip(samples[0].split(size), samples[1].split(size), strict=True)
    ]


class BatchEncoding(UserDict):
    """What Hugging Face's tokenizers give."""


class ByIndex:
    """Gives samples by index."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.targets[index]


FORMS = {
    "a mapping of splits": lambda samples: {"train": [samples]},
    "one iterable of batches": lambda samples: [samples],
    "a pair of tensors": lambda samples: samples,
    "a pair of tensors by split": lambda samples: {"train": samples},
    "several batches": lambda samples: list(zip(samples[0].split(4), samples[1].split(4), strict=True)),
    "batches that are lists": lambda samples: [[*samples]],
    "samples by index": lambda samples: ByIndex(*samples),
    "samples by index, by split": lambda samples: {"train": ByIndex(*samples)},
    "a data loader": lambda samples: DataLoader(TensorDataset(*samples), batch_size=5),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_data_may_come_in_any_of_these_forms(form, head, samples):
    expected = measure(head(), {"train": [samples]}, MEASURES)
    assert measure(head(), form(samples), MEASURES) == pytest.approx(expected, rel=1e-12)


NAMES = {
    "labels": lambda samples: named(samples, 13),
    "label": lambda samples: named(samples, 13, "label"),
    "several batches": lambda samples: named(samples, 4),
    "an encoding": lambda samples: named(samples, 4, kind=BatchEncoding),
    "by split": lambda samples: {"train": named(samples, 4)},
}


@pytest.mark.parametrize("form", NAMES.values(), ids=NAMES)
def test_batches_may_name_the_models_arguments(form, head, samples):
    expected = measure(head(), samples, MEASURES)
    assert measure(Named(head()), form(samples), MEASURES) == pytest.approx(expected, rel=1e-12)


def test_each_named_input_is_split_into_samples(head, samples):
    inputs, targets = samples
    shift = torch.randn(13, dtype=torch.float64)
    batch = {"features": inputs, "labels": targets, "shift": shift}
    expected = measure(head(), (inputs + shift[:, None], targets), MEASURES)
    assert measure(Named(head()), [batch], MEASURES) == pytest.approx(expected, rel=1e-12)
    assert batch.keys() == {"features", "labels", "shift"}


def test_a_pair_serves_every_split(head, samples):
    measures = [MeanLoss("train"), MeanLoss("validation"), MeanLoss("test")]
    row = measure(head(), samples, measures)
    assert len(row) == 3
    assert len(set(row.values())) == 1


@pytest.mark.parametrize("device", ["meta", "cuda"])
def test_batches_are_moved_to_the_models_device(device, samples):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    seen = []

    class Look:
        split = "train"

        def update(self, batch) -> None:
            inputs = [batch.inputs] if isinstance(batch.inputs, Tensor) else batch.inputs.values()
            seen.extend(each.device.type for each in [*inputs, batch.targets, batch.logits, batch.losses])

        def compute(self) -> dict[str, float]:
            return {}

    model = nn.Linear(4, 3, dtype=torch.float64, device=device)
    measure(model, samples, [Look()])
    measure(Named(model), named(samples, 4), [Look()])
    assert set(seen) == {device}


INPUTS, TARGETS = torch.randn(4, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)

WRONG = {
    "no split": ({}, "a measure needs the train split, and there is none"),
    "one batch alone": (
        {"features": INPUTS, "labels": TARGETS},
        "a measure needs the train split, and there is none",
    ),
    "no iterable": (3, "the train split must be batches or two tensors, got int"),
    "no iterable in a split": (
        {"train": None},
        "the train split must be batches or two tensors, got NoneType",
    ),
    "no batch": ([], "the train split is empty"),
    "an empty batch": ([(INPUTS[:0], TARGETS[:0])], "the train split is empty"),
    "no samples to be had by index": (ByIndex(INPUTS[:0], TARGETS[:0]), "the train split is empty"),
    "empty tensors": ((INPUTS[:0], TARGETS[:0]), "the train split is empty"),
    "unequal tensors": ((INPUTS, TARGETS[:3]), "the train split has 4 inputs but 3 targets"),
    "inputs alone": ([INPUTS], "a batch must be (inputs, targets), got Tensor"),
    "three parts": ([(INPUTS, TARGETS, TARGETS)], "a batch must be (inputs, targets), got tuple"),
    "numbers": ([1.0], "a batch must be (inputs, targets), got float"),
    "targets that are no tensor": (
        [(INPUTS, [0] * 4)],
        "a batch must be (inputs, targets), tensors both, got (Tensor, list)",
    ),
    "inputs that are no tensor": (
        [([[0.0]] * 4, TARGETS)],
        "a batch must be (inputs, targets), tensors both, got (list, Tensor)",
    ),
    "no labels": ([{"features": INPUTS}], "a batch that is a mapping must have 'labels', got features"),
}


@pytest.mark.parametrize("each", [AGN(), GN(), GN(3)], ids=["AGN", "GN", "subset"])
@pytest.mark.parametrize(("data", "message"), WRONG.values(), ids=WRONG)
def test_data_of_another_form_are_refused(data, message, each, head):
    with pytest.raises(DataError) as error:
        measure(head(), data, [each])
    assert str(error.value) == message


class Gives(nn.Module):
    """Gives its logits wrapped in something."""

    def __init__(self, wrap) -> None:
        super().__init__()
        self.layer, self.wrap = nn.Linear(4, 3).double(), wrap

    def forward(self, inputs: Tensor) -> object:
        return self.wrap(self.layer(inputs))


@pytest.mark.parametrize("each", [MeanLoss("train"), AGN(), GN(), GN(5), GradSign()], ids=repr)
@pytest.mark.parametrize(
    ("wrap", "kind"),
    [
        (lambda logits: (logits, None), "tuple"),
        (lambda logits: {"logits": logits}, "dict"),
        (lambda logits: None, "NoneType"),
    ],
    ids=["tuple", "dict", "None"],
)
def test_a_model_that_gives_no_logits_is_refused(wrap, kind, each, samples):
    with pytest.raises(ModelError) as error:
        measure(Gives(wrap), samples, [each])
    assert str(error.value) == f"the model must return logits, or an object with 'logits', got {kind}"

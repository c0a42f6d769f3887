"""The evaluation pass: each split is walked once, for all of its measures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hpo_gn.errors import DataError, ModelError
from hpo_gn.measures.batch import Batch, Loss, Split, cross_entropy
from hpo_gn.measures.last_linear import Watch, find_linear
from hpo_gn.measures.measure import Measure

Batches = Iterable[tuple[Tensor, Tensor]]
"""(inputs [B, …], targets [B]) again and again: what a DataLoader gives."""


def evaluate(
    model: nn.Module,
    splits: Mapping[Split, Batches],
    measures: Sequence[Measure],
    *,
    loss: Loss = cross_entropy,
) -> dict[str, float]:
    """Compute measures of a model, each split they need walked once, in evaluation mode and without
    augmentation.

    The model's mode, gradients, buffers and the global random state are left as they were found.

    Args:
        model: gives logits [B, C] for inputs [B, …].
        splits: batches by split name; moved to the model's device.
        measures: what to compute; equal ones are computed once.
        loss: the loss of each sample, (logits, targets) → [B].

    Returns:
        The measures' columns, one row.

    Raises:
        DataError: a split that a measure needs is missing or empty.
        ModelError: the loss is not one number a sample, or the model does not have the layer a measure reads.
    """
    distinct = list(dict.fromkeys(measures))
    row: dict[str, float] = {}
    for split in dict.fromkeys(measure.split for measure in distinct):
        if split not in splits:
            raise DataError(f"a measure needs the {split} split, and there is none")
        wanted = [measure for measure in distinct if measure.split == split]
        with undisturbed(model):
            _walk(model, splits[split], wanted, loss, split)
        for measure in wanted:
            row.update(measure.compute())
    return row


def _walk(model: nn.Module, batches: Batches, measures: Sequence[Measure], loss: Loss, split: Split) -> None:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    empty = True
    with ExitStack() as stack:
        watch = _watch(model, measures, stack)
        for inputs, targets in batches:
            empty = False
            batch = _forward(model, inputs.to(device), targets.to(device), loss, watch)
            for measure in measures:
                measure.update(batch)
            torch.set_grad_enabled(False)
    if empty:
        raise DataError(f"the {split} split is empty")


def _watch(model: nn.Module, measures: Sequence[Measure], stack: ExitStack) -> Watch | None:
    layers = {measure.linear_layer for measure in measures if hasattr(measure, "linear_layer")}
    if not layers:
        return None
    if len(layers) > 1:
        raise ModelError(
            f"one linear layer can be watched in a pass, got {', '.join(sorted(map(str, layers)))}"
        )
    return stack.enter_context(Watch(find_linear(model, layers.pop())).attached())


def _forward(model: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss, watch: Watch | None) -> Batch:
    logits = model(inputs)
    losses = loss(logits, targets)
    if losses.shape != targets.shape[:1]:
        raise ModelError(
            f"loss must give one number a sample, [{len(targets)}], got {list(losses.shape)}: "
            "use reduction='none'"
        )
    if watch is None:
        return Batch(inputs, targets, logits, losses, loss)
    features, outputs = watch.take()
    return Batch(inputs, targets, logits, losses, loss, features, outputs, watch.layer.bias is not None)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; outside, each module's mode and the random state are as
    before.
    """
    modes: list[tuple[Any, bool]] = [(module, module.training) for module in model.modules()]
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training

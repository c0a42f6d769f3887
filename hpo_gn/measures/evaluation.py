"""The evaluation pass: each split is walked once, for all of its measures."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import numpy as np
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

    The model's mode, gradients, batch-norm statistics and hooks, and the global random states of torch, numpy
    and Python are left as they were found, also when the model or a measure raises.

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
        UnknownNameError: a measure names a layer that the model does not have.
    """
    distinct = [measure for place, measure in enumerate(measures) if measure not in measures[:place]]
    needed = list(dict.fromkeys(measure.split for measure in distinct))
    for split in needed:
        if split not in splits:
            raise DataError(f"a measure needs the {split} split, and there is none")
    row: dict[str, float] = {}
    for split in needed:
        wanted = [measure for measure in distinct if measure.split == split]
        with _emptied_on_error(wanted):
            with undisturbed(model):
                _walk(model, splits[split], wanted, loss, split)
            for measure in wanted:
                row.update({name: float(value) for name, value in measure.compute().items()})
    return row


@contextmanager
def _emptied_on_error(measures: Sequence[Measure]) -> Iterator[None]:
    """What measures gathered of a pass that failed must not enter the next one's."""
    try:
        yield
    except BaseException:
        for measure in measures:
            with suppress(Exception):
                measure.compute()
        raise


def _walk(model: nn.Module, batches: Batches, measures: Sequence[Measure], loss: Loss, split: Split) -> None:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    samples = 0
    with ExitStack() as stack:
        watch = _watch(model, measures, stack)
        for inputs, targets in batches:
            samples += len(targets)
            batch = _forward(model, inputs.to(device), targets.to(device), loss, watch)
            for measure in measures:
                measure.update(batch)
            del batch  # its memory serves the next one
    if not samples:
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
    torch.set_grad_enabled(False)  # the watch turned it on
    if losses.shape != targets.shape[:1]:
        raise ModelError(
            f"loss must give one number a sample, [{len(targets)}], got {list(losses.shape)}: "
            "use reduction='none'"
        )
    return Batch(inputs, targets, logits, losses, loss, None if watch is None else watch.take())


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; outside, each module's mode and the global random states are
    as before.
    """
    modes = [(module, module.training) for module in model.modules()]
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=list(devices)), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            random.setstate(python)
            np.random.set_state(numpy)

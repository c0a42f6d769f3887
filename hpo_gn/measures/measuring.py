"""Measuring a model: each split is walked once, for all of its measures."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from hpo_gn.errors import ArgumentError, DataError, ModelError
from hpo_gn.measures.as_found import device_of, undisturbed
from hpo_gn.measures.batch import Batch, Loss, Split, cross_entropy
from hpo_gn.measures.compiled import CompiledForward, eagerly, is_compiled, uncompiled
from hpo_gn.measures.contract import Measure
from hpo_gn.measures.cost import Meter
from hpo_gn.measures.gradients import Backpropagation, Gradient, check_samples_are_apart
from hpo_gn.measures.last_linear import Seen, Watch, find_linear
from hpo_gn.measures.row import Row
from hpo_gn.measures.samples import Batches, Inputs, Pair, Samples, call, moved, select, to_device, unpack
from hpo_gn.measures.subset import draw_subset

_BATCH = 1000
"""Samples at once of a split that is no batches."""
_HEAVY = ("visit", "attached", "own_passes")
"""What measures have that need the model itself, not the code that `torch.compile` made of it."""


Backward = Callable[[Callable[[Gradient], None]], None]
"""Calls what it is given with each parameter's per-sample gradients."""
Forward = Callable[[Inputs, Tensor, float], tuple[Batch, Backward | None]]
"""(inputs, targets, population) → the batch, and its backward pass where a measure needs one."""


def measure(
    model: nn.Module,
    data: Mapping[Split, Batches | Samples] | Batches | Samples | tuple[Tensor, Tensor],
    measures: Sequence[Measure],
    *,
    loss: Loss = cross_entropy,
) -> Row:
    """Compute measures of a model, each split they need walked once, in evaluation mode and without
    augmentation.

    The model's mode, gradients, buffers and hooks, and the global random states of torch, numpy and Python
    are left as they were found, also when the model or a measure raises.

    Args:
        model: gives logits [B, C] for inputs [B, …], or an output that has `logits`. Where `torch.compile`
            made it, the compiled code is used if the measures need nothing but the last layer, else the model
            itself.
        data: splits by name, or one that serves as all: batches, `Samples`, or a pair (inputs [N, …], targets
            [N]). A batch is (inputs, targets) or a mapping with "labels"; it is moved to the model's device.
        measures: what to compute; equal ones are computed once.
        loss: the loss of each sample, (logits, targets) → [B].

    Returns:
        The measures' columns, and what each cost.

    Raises:
        DataError: a split that a measure needs is missing or empty, or a batch is no batch.
        ModelError: the loss is not one number a sample, or the model does not have the layer a measure reads.
        NonFiniteError: NaN or infinity where a measure cannot give a number.
        UnknownNameError: a measure names a layer that the model does not have.
    """
    row = Row({})
    passes = []
    for each in _distinct(measures):
        if hasattr(each, "during_training"):
            row.update(each.compute())
        else:
            passes.append(each)
    walks = list(dict.fromkeys((each.split, *_subset_of(each)) for each in passes))
    for split, _, _ in walks:
        if isinstance(data, Mapping) and split not in data:
            raise DataError(f"a measure needs the {split} split, and there is none")
    for split, samples, seed in walks:
        wanted = [each for each in passes if (each.split, *_subset_of(each)) == (split, samples, seed)]
        samples_of_split = _split(data, split)
        with _emptied_on_error(wanted):
            _Walk(model, wanted, loss, split).run(samples_of_split, samples, seed, row)
    return row


@contextmanager
def read_in_training(model: nn.Module, measures: Sequence[Measure]) -> Iterator[None]:
    """Inside, where the model is trained for an epoch, measures that are gathered in training are.

    Args:
        model: what is trained.
        measures: those that `measure` is given afterwards, of all kinds.
    """
    with ExitStack() as stack:
        for each in _distinct(measures):
            if hasattr(each, "during_training"):
                stack.enter_context(each.during_training(model))
        yield


def _distinct(measures: Sequence[Measure]) -> list[Measure]:
    return [each for place, each in enumerate(measures) if each not in measures[:place]]


def _subset_of(measure: Measure) -> tuple[int | None, int]:
    samples, seed = getattr(measure, "samples", None), getattr(measure, "seed", 0)
    if samples is not None and (not isinstance(samples, int) or samples < 1):
        raise ArgumentError("samples", "a positive integer", samples)
    return samples, 0 if samples is None else seed


def _split(data: Any, split: Split) -> Batches | Samples:
    chosen: Any = data[split] if isinstance(data, Mapping) else data
    if isinstance(chosen, tuple) and len(chosen) == 2 and all(isinstance(part, Tensor) for part in chosen):
        inputs, targets = chosen
        if len(inputs) != len(targets):
            raise DataError(f"the {split} split has {len(inputs)} inputs but {len(targets)} targets")
        return Pair(inputs, targets)
    if not isinstance(chosen, Iterable | Samples):
        raise DataError(f"the {split} split must be batches or two tensors, got {type(chosen).__name__}")
    return chosen


@contextmanager
def _emptied_on_error(measures: Sequence[Measure]) -> Iterator[None]:
    """What measures gathered of a pass that failed must not enter the next one's."""
    try:
        yield
    except BaseException:
        for each in measures:
            with suppress(Exception):
                each.compute()
        raise


class _Walk:
    """One pass over a split, or over a random subset of it, for measures that see the same samples."""

    def __init__(self, model: nn.Module, measures: Sequence[Measure], loss: Loss, split: Split) -> None:
        self._called, self._model = model, uncompiled(model)
        self._loss, self._split = loss, split
        self._measures = {str(number): each for number, each in enumerate(measures)}
        self._visitors = {account: each for account, each in self._measures.items() if hasattr(each, "visit")}
        self._light = not any(hasattr(each, need) for each in measures for need in _HEAVY)
        self._device = device_of(model)
        self._meter = Meter(self._device)
        self._sweep: Backpropagation | None = None

    def run(self, split: Batches | Samples, samples: int | None, seed: int, row: Row) -> None:
        """Walk, and put the measures' columns and costs into the row."""
        population = math.inf
        with ExitStack() as stack:
            stack.enter_context(undisturbed(self._model))
            stack.enter_context(self._meter.charge(self._split))
            if not self._light:
                stack.enter_context(eagerly(self._called))
                stack.enter_context(self._meter.counting(self._model))
            batches: Batches
            if samples is not None:
                batches, population = draw_subset(split, samples, seed)
            elif isinstance(split, Samples):
                batches = (
                    split.batch(slice(start, start + _BATCH)) for start in range(0, len(split), _BATCH)
                )
            else:
                batches = split
            walked = self._walk(batches, population)
            if not walked:
                raise DataError(f"the {self._split} split is empty")
            names = self._compute(row)
        for account, cost in self._meter.costs(walked).items():
            row.add_cost(names.get(account, account), cost)

    def _compute(self, row: Row) -> dict[str, str]:
        """Fill the row; gives each account's name, its measure's first column."""
        names = {}
        for account, each in self._measures.items():
            with self._meter.charge(account):
                columns = {name: float(value) for name, value in each.compute().items()}
            row.update(columns)
            names[account] = next(iter(columns), type(each).__name__)
        return names

    def _walk(self, batches: Batches, population: float) -> int:
        walked = 0
        unpacked = map(unpack, batches)
        if (first := next(unpacked, None)) is None:
            return 0
        with self._forward(to_device(first[0], self._device)) as forward:
            for inputs, targets in self._pieces(chain([first], unpacked)):
                walked += targets.shape[0]
                batch, backward = forward(
                    to_device(inputs, self._device), moved(targets, self._device), population
                )
                self._update(batch, visitors=False)
                if backward is not None:
                    backward(self._visit)
                    self._update(batch, visitors=True)
                del batch, backward  # their memory serves the next ones
        return walked

    def _pieces(self, batches: Iterable[tuple[Inputs, Tensor]]) -> Iterator[tuple[Inputs, Tensor]]:
        """The batches, smaller where a backward pass keeps all activations of a piece."""
        for inputs, targets in batches:
            if self._sweep is None:
                yield inputs, targets
                continue
            start = 0
            while start < len(targets):
                left = len(targets) - start
                pieces = math.ceil(left / self._sweep.samples_at_once)
                index = slice(
                    start, start + math.ceil(left / pieces)
                )  # of one size, since small ones are slow
                yield select(inputs, index), targets[index]
                start = index.stop

    def _update(self, batch: Batch, *, visitors: bool) -> None:
        for account, each in self._measures.items():
            if (account in self._visitors) == visitors:
                with self._meter.charge(account):
                    each.update(batch)

    def _visit(self, gradient: Gradient) -> None:
        for account, each in self._visitors.items():
            with self._meter.charge(account):
                each.visit(gradient)

    @contextmanager
    def _forward(self, sample: Inputs) -> Iterator[Forward]:
        layers = {each.linear_layer for each in self._measures.values() if hasattr(each, "linear_layer")}
        if len(layers) > 1:
            names = ", ".join(sorted(map(str, layers)))
            raise ModelError(f"one linear layer can be watched in a pass, got {names}")
        watched, name = bool(layers), next(iter(layers), None)
        if watched or self._visitors:
            check_samples_are_apart(self._model)
        if self._light and self._loss is cross_entropy and is_compiled(self._called):
            compiled = CompiledForward(self._called, watched, name)
            if compiled.fits(sample):
                yield partial(self._compiled, compiled)
                return
        with ExitStack() as stack:
            stack.enter_context(eagerly(self._called))
            for each in self._measures.values():
                if hasattr(each, "attached"):
                    stack.enter_context(each.attached(self._model))
            if self._visitors:
                self._sweep = stack.enter_context(Backpropagation(self._model).attached())
            watch = None
            if watched:
                watch = stack.enter_context(Watch(find_linear(self._model, name)).attached())
                stack.callback(self._model.register_forward_pre_hook(watch.forget).remove)
            yield partial(self._eager, watch, self._sweep)

    def _eager(
        self,
        watch: Watch | None,
        sweep: Backpropagation | None,
        inputs: Inputs,
        targets: Tensor,
        population: float,
    ) -> tuple[Batch, Backward | None]:
        logits = call(self._model, inputs) if sweep is None else sweep.forward(inputs)
        losses = self._loss(logits, targets)
        torch.set_grad_enabled(False)  # the watch or the sweep turned it on
        seen = None
        if watch is not None:
            seen = watch.take()
            # Of logits that are the layer's output, cross entropy's δ follows from them alone.
            watch.needs_gradients = not (self._loss is cross_entropy and seen.is_left_as(logits))
        backward = None if sweep is None else partial(sweep.backward, losses)
        return self._batch(inputs, targets, logits, losses, seen, population), backward

    def _compiled(
        self, compiled: CompiledForward, inputs: Inputs, targets: Tensor, population: float
    ) -> tuple[Batch, None]:
        logits, seen = compiled(inputs)
        return self._batch(inputs, targets, logits, self._loss(logits, targets), seen, population), None

    def _batch(
        self,
        inputs: Inputs,
        targets: Tensor,
        logits: Tensor,
        losses: Tensor,
        seen: Seen | None,
        population: float,
    ) -> Batch:
        if losses.shape != targets.shape[:1]:
            raise ModelError(
                f"loss must give one number a sample, [{len(targets)}], got {list(losses.shape)}: "
                "use reduction='none'"
            )
        if self._light:
            self._meter.add_forward(targets.shape[0])
        return Batch(self._model, inputs, targets, logits, losses, self._loss, seen, population)

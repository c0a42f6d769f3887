"""The rows of whole passes: measures as they are called, against the same walk without them."""

import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.measures.networks import SIGNS, Case, forward_and_backward
from benchmarks.measures.rows import Bar, Row
from benchmarks.measures.timing import Effort, interleave, peak_bytes
from hpo_gn.measures import AGN, GN, GSNR, Accuracy, MeanLoss, OnlineAGN, measure
from hpo_gn.measures.initialization import GradSign
from hpo_gn.training import SupervisedTraining

EVALUATED_AT_ONCE = 1000
"""As in a search."""
TRAINED_AT_ONCE = 100
CONVOLUTIONAL = ("lenet5", "resnet20")

Batches = list[tuple[Tensor, Tensor]]


def evaluate_loss(model: nn.Module, batches: Batches) -> float:
    """The plain evaluation: the mean cross entropy."""
    model.eval()
    total = torch.zeros((), device=batches[0][1].device)
    with torch.no_grad():
        for inputs, targets in batches:
            total += cross_entropy(model(inputs), targets, reduction="sum")
    return total.item() / sum(len(targets) for _, targets in batches)


def evaluate_all(model: nn.Module, batches: Batches) -> float:
    """AGN, training loss and accuracy in one pass; gives the loss."""
    return measure(model, {"train": batches}, [AGN(), MeanLoss("train"), Accuracy("train")])["train_loss"]


def exact_agn(case: Case, effort: Effort) -> Row:
    """AGN, loss and accuracy in one pass over an evaluation of the loss."""
    plain, ours = _evaluations(case, case.model)
    timing = interleave(plain, ours, effort, case.device)
    peak = peak_bytes(ours, case.device)
    return Row("AGN, exact", "one pass / evaluation of the loss", timing.ratios, peak, Bar(1.02))


def compiled_agn(case: Case, effort: Effort) -> Row | None:
    """The same of a compiled model, over an evaluation that is not compiled; of convolutional nets only."""
    if case.name not in CONVOLUTIONAL:
        return None
    kind, method = "AGN, exact", "compiled / evaluation, not compiled"
    if case.device.type == "cpu" and not (shutil.which("g++") or shutil.which("c++")):
        return Row(kind, method, note="no C++ compiler")
    plain, ours = _evaluations(case, torch.compile(case.model))
    return Row(kind, method, interleave(plain, ours, effort, case.device).ratios, bar=Bar(0.8))


def _evaluations(case: Case, measured: nn.Module) -> tuple[Callable[[], float], Callable[[], float]]:
    """The plain one of the case's model, and everything of a model that must give the same loss."""
    batches = case.batches(case.size.evaluated, EVALUATED_AT_ONCE)
    plain, ours = partial(evaluate_loss, case.model, batches), partial(evaluate_all, measured, batches)
    torch.testing.assert_close(ours(), plain(), rtol=1e-4, atol=0)
    return plain, ours


def online_agn(case: Case, effort: Effort) -> Row:
    """A training epoch in which AGN is gathered, over one without."""
    plain, watched = (case.training(case.size.trained, TRAINED_AT_ONCE) for _ in range(2))
    timing = interleave(plain.run_epoch, partial(train_online, watched), effort, case.device)
    peak = peak_bytes(partial(train_online, watched), case.device)
    return Row("AGN, online", "training epoch with / without", timing.ratios, peak, Bar(1.05))


def train_online(training: SupervisedTraining) -> float:
    """An epoch of training, and its AGN."""
    online = OnlineAGN()
    with online.during_training(training.model):
        training.run_epoch()
    return online.compute()["agn_online"]


def called(case: Case, effort: Effort) -> Iterator[Row]:
    """Measures as a user calls them, all that `measure` does included, over F+B of the same samples."""
    for measured, samples in (
        (GN(), case.size.walked),
        (GSNR(), case.size.walked),
        (GradSign("eval", SIGNS), SIGNS),
    ):
        batches = case.batches(samples, min(samples, case.size.batch))
        units = [forward_and_backward(deepcopy(case.model), *batch) for batch in batches]
        ours = partial(measure, deepcopy(case.model), case.batch(samples), [measured])
        timing = interleave(partial(_all, units), ours, effort, case.device)
        method = f"by measure(), {samples:,} samples"
        yield Row(type(measured).__name__, method, timing.ratios, peak_bytes(ours, case.device))


def _all(functions: list[Callable[[], None]]) -> None:
    for function in functions:
        function()

"""The rows of the measures that read per-sample gradients of one batch: GN, GradSign, GSNR."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.measures import ours, peers
from benchmarks.measures.networks import SIGNS, Case, forward_and_backward
from benchmarks.measures.ours import Method
from benchmarks.measures.rows import Bar, Row
from benchmarks.measures.timing import Effort, interleave, peak_bytes

TOLERANCE = 1e-3
"""How far another result may be from ours, relative, for its method to be timed."""
LOOPED = 32
"""Samples that GN's loop takes; its time is scaled up to the batch."""


@dataclass(frozen=True)
class Group:
    """One quantity of one batch by several methods, the first of which is ours.

    Args:
        measure: its name.
        methods: by name.
        bar: for ours.
        samples: of the batch.
        training: whether the model is in training mode.
    """

    measure: str
    methods: Mapping[str, Method]
    bar: Bar | None
    samples: int
    training: bool = False


def groups(case: Case) -> list[Group]:
    """What is timed on a network."""
    chunk, batch, name = case.size.chunk, case.size.batch, case.name
    by_vmap = peers.vmapped(chunk)
    vmap_name = f"vmap(grad), {min(chunk, batch)} at once"
    norms = {
        "ours": ours.norms,
        "Opacus, ghost clipping": peers.opacus_norms,
        "BackPACK, BatchL2Grad": peers.backpack_norms,
        vmap_name: peers.norms_by(by_vmap),
        f"loop, over {LOOPED} and scaled up": peers.norms_by(peers.looped, LOOPED),
    }
    signs = {
        "ours": ours.signs,
        f"vmap(grad), {SIGNS} at once": peers.signs_by(by_vmap),
        "loop": peers.signs_by(peers.looped),
    }
    published = {"ours": ours.signs, "loop, the original": peers.signs_by(peers.looped)}
    moments = {
        "ours": ours.moments,
        "BackPACK, SumGradSquared": peers.backpack_moments,
        vmap_name: peers.moments_by(by_vmap),
    }
    gn = {"mlp": Bar(0.65, 0.60), "lenet5": Bar(1.25, 1.15), "resnet20": Bar(1.20, 1.06)}
    grad_sign = {"mlp": Bar(1.2), "lenet5": Bar(1.3), "resnet20": Bar(1.35)}
    gsnr = {"mlp": Bar(1.5), "lenet5": Bar(1.3), "resnet20": Bar(1.4)}
    return [
        Group("GN, norms", norms, gn.get(name), batch),
        Group(f"GradSign, {SIGNS}", signs, grad_sign.get(name), SIGNS),
        Group(f"GradSign, {SIGNS}, train", published, Bar(1.2) if name == "resnet20" else None, SIGNS, True),
        Group("GSNR, sums", moments, gsnr.get(name), batch),
    ]


def rows(case: Case, group: Group, effort: Effort) -> Iterator[Row]:
    """Each method's figures, over F+B of the same batch in the same mode."""
    batch = case.batch(group.samples)
    expected = None
    for name, method in group.methods.items():
        bar = group.bar if expected is None else None
        model = deepcopy(case.model).train(group.training)
        try:
            with method(model, *batch) as prepared:
                prepared.run()
                result = prepared.result()
                expected = result if expected is None else expected
                if (error := difference(result, expected)) > TOLERANCE:
                    note = f"its result differs from ours by {error:.1e}"
                    yield Row(group.measure, name, note=note, failed=True)
                    continue
                unit = forward_and_backward(deepcopy(case.model).train(group.training), *batch)
                timing = interleave(unit, prepared.run, effort, case.device)
                scale = (
                    1 if prepared.samples is None else group.samples / min(prepared.samples, group.samples)
                )
                ratios = [scale * ratio for ratio in timing.ratios]
                yield Row(group.measure, name, ratios, peak_bytes(prepared.run, case.device), bar)
        except ImportError as error:
            yield Row(group.measure, name, note=f"not installed: {error.name}")


def unit_row(case: Case, effort: Effort) -> Row:
    """F+B itself, whose time is the note."""
    unit = forward_and_backward(deepcopy(case.model), *case.batch(case.size.batch))
    timing = interleave(unit, unit, effort, case.device)
    note = f"{1e3 * torch.tensor(timing.unit_s).median().item():.1f} ms"
    return Row("F+B", "itself", timing.ratios, peak_bytes(unit, case.device), note=note)


def difference(result: Tensor, expected: Tensor) -> float:
    """‖result − expected‖ / ‖expected‖, of as many as there are results."""
    expected = expected.flatten()[: result.numel()]
    return ((result.flatten().double() - expected).norm() / expected.double().norm()).item()

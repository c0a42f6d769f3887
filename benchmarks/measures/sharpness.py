"""The row of sharpness in the whole space: ten Frank–Wolfe steps, or the paper's ten L-BFGS-B iterations."""

from functools import partial

from benchmarks.measures.networks import Case, forward_and_backward
from benchmarks.measures.rows import Row
from benchmarks.measures.timing import Effort, interleave, peak_bytes
from hpo_gn.measures import Sharpness, measure

MOST = 12
"""Forward and backward passes of all samples."""
LEAST = 0.995
"""How much of L-BFGS-B's φ is enough."""
EPSILONS = (1e-3, 5e-4)
EPOCHS = 4
"""Of training: φ is of a network that fits its data."""
ROUNDS = 3


def row(case: Case, effort: Effort) -> Row:
    """Frank–Wolfe's time over F+B of the same samples, and its φ over L-BFGS-B's."""
    training = case.training(case.size.trained, batch_size=100)
    for _ in range(EPOCHS):
        training.run_epoch()
    model, batch = training.model.eval(), case.batch(case.size.sharp)
    shares, passes, notes = [], [], []
    for epsilon in EPSILONS:
        ours = measure(model, batch, [Sharpness(epsilon, samples=None)])
        theirs = measure(model, batch, [Sharpness(epsilon, method="l-bfgs-b", samples=None)])
        shares.append(ours["sharpness"] / theirs["sharpness"])
        taken, others = (round(each.costs["sharpness"].backward) for each in (ours, theirs))
        passes.append(taken)
        notes.append(
            f"ε {epsilon:g}: φ {ours['sharpness']:.3g} in {taken} F+B, "
            f"{shares[-1]:.4f} of L-BFGS-B's in {others}"
        )
    failed = min(shares) < LEAST or max(passes) > MOST
    notes.append(f"≤ {MOST} F+B at ≥ {LEAST}: {'missed' if failed else 'reached'}")
    run = partial(measure, model, batch, [Sharpness(EPSILONS[0], samples=None)])
    short = Effort(min(effort.rounds, ROUNDS), effort.seconds)
    timing = interleave(forward_and_backward(model, *batch), run, short, case.device)
    return Row(
        "Sharpness",
        f"Frank–Wolfe, {case.size.sharp} samples",
        timing.ratios,
        peak_bytes(run, case.device),
        note="; ".join(notes),
        failed=failed,
    )

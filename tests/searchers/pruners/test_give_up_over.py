"""Runs that are over: trained already, or diverged."""

import pytest

from hpo_gn.measures.early_success import EarlySuccess
from tests.give_up_runs import (
    BAD,
    INF,
    LATE,
    MOVING,
    NAN,
    SHORT,
    STILL,
    at_once,
    over,
    rows,
    running,
    study_of,
)


@pytest.mark.parametrize(
    ("done", "cost", "spectra", "pruned"),
    [
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.45, STILL, True),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.33, STILL, False),  # one of them with that
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.45, MOVING, False),  # not trained yet
        # Not as steep as the best in the end, as steep as one of them, steeper yet, less steep again.
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.45, [8.0] * 4, False),
        ([over(0.31, 0.3, [8.0] * 8), over(0.32, 0.31), over(0.33, 0.32)], 0.45, [8.0] * 4, True),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.45, [4.0, 4.0, 4.0, 3.0], False),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.45, [4.0, 4.0, 3.0, 4.0], False),
        # A step of the learning rate helped one later.
        ([*(over(v, v - 0.01) for v in (0.31, 0.32, 0.33)), over(0.52, 0.33)], 0.45, STILL, False),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.52, 0.32)], 0.45, STILL, False),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.52, 0.32)], 0.53, STILL, True),
        # One that came to nothing tells of no gain.
        ([*(over(v, v - 0.3, LATE) for v in (0.61, 0.62, 0.63)), *[over(INF, INF)] * 3], 0.65, STILL, False),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32), over(INF, INF)], 0.45, STILL, True),
        # Nobody can tell what runs that are over gain.
        ([over(0.31, 0.3, MOVING), over(0.32, 0.31), over(0.33, 0.32)], 0.45, STILL, False),
        # Those that are over would not overtake it, and the others have not yet.
        (
            [*(over(at, at - 0.3, LATE) for at in (0.61, 0.62, 0.63)), *[over(0.7, 0.7)] * 3],
            0.6,
            STILL,
            False,
        ),
        (
            [*(over(at, at - 0.3, LATE) for at in (0.61, 0.62, 0.63)), *[over(0.7, 0.7)] * 3],
            0.65,
            STILL,
            True,
        ),
    ],
)
def test_a_run_that_is_trained_already_and_will_not_be_one_of_the_best(done, cost, spectra, pruned):
    pruner, study = at_once(lenience=1.0, parameters=SHORT), study_of([*done, BAD])
    trial = running([cost] * 4, **rows(spectra[:4]))
    assert pruner.prune(study, trial) is pruned
    said = "it is trained already, and 3 finished runs are better than it can become"
    assert pruner.reason(study, trial) == (said if pruned else "it is not given up")


def test_trained_already_needs_a_full_window_and_rows_without_gaps():
    done = [over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32), BAD]
    trial = running([0.45] * 4, **rows(STILL[:4]))
    assert at_once(lenience=1.0, parameters=EarlySuccess(t0=4)).prune(study_of(done), trial)
    assert not at_once(lenience=1.0, parameters=EarlySuccess(t0=5)).prune(study_of(done), trial)
    gap = running([0.45] * 4, **rows({1: 4.0, 2: 4.0, 4: 4.0}))
    assert not at_once(lenience=1.0, parameters=SHORT).prune(study_of(done), gap)
    silent = running({}, **rows(STILL[:4]))
    assert not at_once(signal="s-f", lenience=1.0, parameters=SHORT).prune(study_of(done), silent)


@pytest.mark.parametrize("signal", ["value", "s-fv", "s-f"])
@pytest.mark.parametrize("odd", [NAN, INF, -INF])
@pytest.mark.parametrize("where", ["value", "train_loss", "val_loss"])
def test_a_run_that_diverged_is_given_up_at_once(signal, odd, where):
    pruner, fine = at_once(signal=signal, checkpoints=[9]), {"val_accuracy": 0.5, "spectrum:0": 3.0}
    losses = {"train_loss": 0.5, "val_loss": 0.5} | ({} if where == "value" else {where: odd})
    trial = running([odd if where == "value" else 0.5], **{"hpo_gn:epoch:1": fine | losses})
    assert pruner.prune(study_of(), trial)
    assert pruner.reason(study_of(), trial) == "it diverged"
    healthy = running([0.5], **{"hpo_gn:epoch:1": fine | {"train_loss": 0.5, "val_loss": 0.5}})
    assert not pruner.prune(study_of(), healthy)

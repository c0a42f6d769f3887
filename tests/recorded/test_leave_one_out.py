import math
from dataclasses import replace

import numpy as np
import pytest

from hpo_gn.recorded.leave_one_out import FEWEST, leave_one_out, nearest
from tests.recorded.runs import a_run, a_table


def smooth(count, **others):
    """Runs whose loss follows from the learning rate, in random order."""
    random = np.random.default_rng(0)
    for number in range(count):
        rate = 10 ** float(random.uniform(-4, 0))
        loss = (math.log10(rate) + 2) ** 2
        yield a_run(number, *[loss] * 4, learning_rate=rate, batch_size=int(random.integers(1, 65)), **others)


@pytest.fixture(scope="module")
def found():
    diverged = a_run(99, reason="diverged at epoch 1: NaN", epochs=1)
    return {(each.target, each.by): each for each in leave_one_out(a_table(*smooth(60), diverged))}


def test_a_smooth_landscape_is_foretold_and_not_by_chance(found):
    for target in ("validation loss", "AGN"):
        near, random = found[target, "nearest"], found[target, "random"]
        assert (near.runs, near.spearman > 0.9, abs(random.spearman) < 0.1) == (60, True, True)
        assert near.error < random.error / 5
        assert found[target, "forest"].spearman > 0.9


def test_weights_help_where_a_parameter_changes_nothing(found):
    weighted, even = (found["validation loss", by] for by in ("nearest", "nearest, unweighted"))
    assert weighted.error < even.error
    assert weighted.spearman > even.spearman


def test_what_the_table_does_not_have_is_not_foretold(found):
    assert {target for target, _ in found} == {"validation loss", "AGN"}
    assert leave_one_out(a_table(*smooth(FEWEST - 1))) == []


def test_tests_are_foretold_of_the_runs_that_have_them():
    accuracy = {"test_loss": (0.1, 0.1)}
    runs = [
        replace(run, test_accuracy=(0.9 - run.val_loss / 10, 0.7 - run.val_loss / 10), **accuracy)
        if run.number % 2
        else run
        for run in smooth(40)
    ]
    found = {each.by: each for each in leave_one_out(a_table(*runs)) if each.target == "test accuracy"}
    assert {each.runs for each in found.values()} == {20}
    assert found["nearest"].error < found["random"].error / 2


def test_what_is_alike_has_no_correlation():
    alike = [replace(run, history=a_run(0, *[1.0] * 4).history) for run in smooth(FEWEST)]
    found = leave_one_out(a_table(*alike))
    assert all(math.isnan(each.spearman) and each.error == pytest.approx(0) for each in found)
    assert len(found) == 8


def test_the_nearest_other_point():
    points = np.array([[0.0, 0.0], [0.0, 1.0], [0.4, 0.0], [0.0, 0.0]])
    assert nearest(points, np.array([1.0, 1.0])).tolist() == [3, 0, 0, 0]
    assert nearest(points, np.array([100.0, 0.1])).tolist() == [3, 0, 0, 0]
    assert nearest(points[:3], np.array([100.0, 0.1])).tolist() == [1, 0, 0]

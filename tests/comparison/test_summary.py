import math

import pytest

from hpo_gn.comparison.summary import Summary
from hpo_gn.errors import DataError, UnknownNameError
from tests.comparison.cell_results import failed, result


def cells(better: float = 0.02, seeds: int = 6, **others):
    """Two objectives over seeds whose accuracies differ more than the objectives do."""
    for seed in range(seeds):
        base = 0.7 + 0.03 * seed
        yield result("val-loss", base, seed, **others)
        yield result("agn-val", base + better + 0.001 * (seed % 2), seed, **others)


def only(summary):
    (against,) = summary.against_baseline()
    return against


def test_differences_are_of_pairs_with_the_same_seed():
    against = only(Summary(list(cells())))
    assert against.method == ("agn-val", "random", "none")
    assert against.difference.pairs == 6
    assert against.difference.mean == pytest.approx(0.0205)
    assert against.difference.verdict == "helped"


def test_each_searcher_has_a_baseline_of_its_own():
    found = [*cells(), *cells(-0.02, searcher="cma-es")]
    verdicts = {each.method[1]: each.difference.verdict for each in Summary(found).against_baseline()}
    assert verdicts == {"random": "helped", "cma-es": "hurt"}


def test_the_baseline_can_be_chosen():
    assert only(Summary(list(cells()), "agn-val")).difference.verdict == "hurt"


def test_a_method_without_a_counterpart_is_not_compared():
    assert Summary([result("agn-val", searcher="bohb"), result()], "val-loss").against_baseline() == []


def test_a_seed_that_one_side_misses_makes_no_pair():
    assert only(Summary(list(cells())[:-1])).difference.pairs == 5


def test_failed_cells_count_as_chance():
    found = [each for each in cells() if (each.labels.objective, each.labels.seed) != ("agn-val", 0)]
    against = only(Summary([*found, failed("agn-val", 0)]))
    assert against.difference.pairs == 6
    assert against.difference.mean == pytest.approx(0.0205 - (0.6 + 0.02) / 6, abs=1e-3)
    assert against.difference.verdict == "no evidence"


def test_untested_winners_make_no_pair_and_are_counted():
    summary = Summary([*list(cells())[:-1], result("agn-val", seed=5, test_accuracy=())])
    assert only(summary).difference.pairs == 5
    assert [each.untested for each in summary.of_methods()] == [0, 1]


def test_time_is_the_searchs_over_the_baselines():
    slow = [result("agn-val", seed=seed, training_s=100.0) for seed in range(3)]
    assert only(Summary([*(result(seed=seed) for seed in range(3)), *slow])).time == pytest.approx(1.5)


def test_ranks_are_over_tasks_and_seeds():
    found = [
        result(objective, accuracy, seed, data=data)
        for objective, accuracy in (("a", 0.7), ("b", 0.9), ("c", 0.8))
        for seed in range(3)
        for data in ("digits", "mnist")
    ]
    methods, ranks = Summary(found).ranks()
    assert [method[0] for method in methods] == ["a", "b", "c"]
    assert ranks.average.tolist() == [3, 1, 2]
    assert ranks.blocks == 6
    assert ranks.p < 0.01


def test_a_method_that_misses_most_blocks_takes_no_others_ranks_away():
    found = [result(objective, 0.8, seed) for objective in "abc" for seed in range(4)]
    methods, ranks = Summary([*found, result("late")]).ranks()
    assert len(methods) == 3
    assert ranks.blocks == 4


def test_a_methods_summary():
    (found,) = Summary(
        [result(accuracy=0.8, seed=0), result(accuracy=0.9, seed=1), failed(seed=2)]
    ).of_methods()
    assert found.accuracy == pytest.approx(0.6)
    assert (found.cells, found.failed, found.configurations) == (3, 1, 8)
    assert found.measuring == pytest.approx(0.25)
    assert (found.overtuning, found.overtuned) == (pytest.approx(0.01), 1.0)


def test_overtuning_of_untested_incumbents_is_unknown():
    (found,) = Summary([result(incumbents=())]).of_methods()
    assert math.isnan(found.overtuning)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "no results"),
        ([result(), result()], "two results are of the same cell"),
        ([result(), result(seed=1, budget=32)], "one budget, got 32 and 64"),
    ],
)
def test_what_cannot_be_compared_is_refused(results, message):
    with pytest.raises(DataError, match=message):
        Summary(results)


def test_an_unknown_baseline_is_refused():
    with pytest.raises(UnknownNameError, match=r"'val-los'.*did you mean 'val-loss'"):
        Summary([result()], "val-los")

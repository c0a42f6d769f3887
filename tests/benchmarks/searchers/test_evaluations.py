import pytest

from benchmarks.searchers.evaluations import Evaluations, Spent
from tests.benchmarks.searchers.made import made_table

BEST = {"rate": 3, "width": 1, "activation": "relu"}
NEXT = {"rate": 3, "width": 1, "activation": "tanh"}
FAR = {"rate": 0, "width": 3, "activation": "tanh"}


@pytest.mark.parametrize(
    ("asked", "spent"),
    [
        ([(BEST, 2), (NEXT, 2)], 4),
        ([(BEST, 1), (BEST, 2)], 2),
        ([(BEST, 1), (BEST, 1)], 2),
        ([(BEST, 2), (BEST, 2)], 4),
        ([(BEST, 2), (BEST, 1)], 3),
        ([(BEST, None), (NEXT, 1)], 3),
    ],
)
def test_only_more_repeats_go_on_from_fewer(asked, spent):
    evaluations = Evaluations(made_table(), 10)
    for params, repeats in asked:
        evaluations.evaluate(params, repeats)
    assert evaluations.spent == spent


def test_a_search_ends_before_it_spends_too_much():
    evaluations = Evaluations(made_table(), 3)
    evaluations.evaluate(FAR)
    with pytest.raises(Spent):
        evaluations.evaluate(BEST)
    assert evaluations.spent == 2
    assert evaluations.evaluate(BEST, 1) == pytest.approx(1.01)


def test_the_incumbent_is_the_best_of_the_most_repeats():
    table = made_table()
    evaluations = Evaluations(table, 100)
    for params, repeats in [(FAR, 1), (BEST, 1), (NEXT, 1), (FAR, 2), (FAR, 2), (NEXT, 2), (BEST, 2)]:
        evaluations.evaluate(params, repeats)
    far, following = (table.regret(table.cost(params, 2)) for params in (FAR, NEXT))
    assert evaluations.curve == [(1, far), (2, 0), (4, far), (7, following), (8, 0)]

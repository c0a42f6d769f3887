import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_gn.history import History
from hpo_gn.measures import AGN, MeanLoss
from hpo_gn.objectives import RankSum
from hpo_gn.objectives._fit_gate import GATE

numbers = st.floats(0, 100, allow_subnormal=False) | st.integers(0, 3).map(float)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12)


def of(*numbers: tuple[float, float]) -> list[History]:
    """Histories of two epochs, with these losses at the end and these sums of AGN."""
    return [History([{"val_loss": 9.0, "agn": agn}, {"val_loss": loss, "agn": 0.0}]) for loss, agn in numbers]


def test_it_adds_the_ranks_of_loss_and_agn():
    assert RankSum().among(of((0.1, 30), (0.2, 10), (0.3, 20))) == [4, 3, 5]


def test_equal_ones_share_the_mean_of_their_ranks():
    assert RankSum().among(of((0.1, 5), (0.1, 5), (0.2, 5))) == [1.5 + 2, 1.5 + 2, 3 + 2]


def rank(value: float, values: list[float]) -> float:
    return sum(other < value for other in values) + (1 + sum(other == value for other in values)) / 2


@given(pairs)
def test_it_is_the_count_of_those_that_are_better(pairs):
    losses, agns = (list(each) for each in zip(*pairs, strict=True))
    expected = [rank(loss, losses) + rank(agn, agns) for loss, agn in pairs]
    assert RankSum().among(of(*pairs)) == pytest.approx(expected)


@given(pairs)
def test_scales_do_not_matter(pairs):
    scaled = [(math.ldexp(loss, 3), math.ldexp(agn, 10)) for loss, agn in pairs]
    assert RankSum().among(of(*scaled)) == RankSum().among(of(*pairs))


def test_what_is_not_a_number_is_worst():
    assert RankSum().among(of((0.1, math.nan), (math.nan, 1), (0.2, 2))) == [1 + 3, 3 + 1, 2 + 2]


def test_gated_the_agn_of_an_unfitted_model_is_worst():
    fitted = {"train_accuracy": 1.0, "train_majority": 0.1, "train_entropy": 0.0}
    rows = [fitted | {"val_loss": 0.4, "agn": 50.0}, fitted | {"val_loss": 0.5, "agn": 40.0}]
    rows.append(fitted | {"val_loss": 2.3, "agn": 0.0, "train_accuracy": 0.1})
    histories = [History([row]) for row in rows]
    assert RankSum().among(histories) == [1 + 3, 2 + 2, 3 + 1]
    assert RankSum(gated=True).among(histories) == [1 + 2, 2 + 1, 3 + 3]
    assert RankSum(gated=True).measures == (AGN(), MeanLoss("validation"), *GATE.measures())


def test_by_itself_a_history_is_worth_its_validation_loss():
    (history,) = of((0.25, 7))
    assert RankSum()(history) == 0.25
    assert RankSum().values(history) == (0.25, 7)


def test_agn_may_be_estimated():
    history = History([{"val_loss": 0.5, "agn_online": 2.0}] * 3)
    assert RankSum(agn="online").values(history) == (0.5, 6.0)

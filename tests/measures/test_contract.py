import pytest

from hpo_gn.measures import AGN, GN, GSNR, Accuracy, MeanLoss, Measure, OnlineAGN, SameSign
from hpo_gn.measures.initialization import GradSign

KINDS = [
    AGN,
    GN,
    GSNR,
    SameSign,
    OnlineAGN,
    GradSign,
    lambda: Accuracy("train"),
    lambda: MeanLoss("validation"),
]


@pytest.mark.parametrize("make", KINDS)
def test_ours_keep_the_contract_and_compare_by_what_they_compute(make):
    measure = make()
    assert isinstance(measure, Measure)
    assert measure == make()
    assert hash(measure) == hash(make())


def test_measures_of_other_splits_differ():
    assert Accuracy("train") != Accuracy("validation")
    assert MeanLoss("train") != Accuracy("train")
    assert len({make() for make in KINDS}) == len(KINDS)
    assert not isinstance(object(), Measure)

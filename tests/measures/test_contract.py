import pytest

from hpo_gn.measures import AGN, Accuracy, MeanLoss, Measure


@pytest.mark.parametrize("make", [AGN, lambda: Accuracy("train"), lambda: MeanLoss("validation")])
def test_ours_keep_the_contract_and_compare_by_what_they_compute(make):
    measure = make()
    assert isinstance(measure, Measure)
    assert measure == make()
    assert hash(measure) == hash(make())


def test_measures_of_other_splits_differ():
    assert Accuracy("train") != Accuracy("validation")
    assert MeanLoss("train") != Accuracy("train")
    assert not isinstance(object(), Measure)

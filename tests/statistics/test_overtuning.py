import math

import pytest

from hpo_gn.statistics import overtuning

NAN = math.nan


@pytest.mark.parametrize(
    ("test", "lost"),
    [
        ([0.8, 0.9, 0.85], 0.05),
        ([0.8, 0.9], 0.0),
        ([0.9], 0.0),
        ([0.9, NAN, 0.85], 0.05),
        ([NAN, 0.9], NAN),
        ([0.9, NAN], NAN),
        ([], NAN),
    ],
)
def test_it_is_what_the_best_earlier_incumbent_had_more(test, lost):
    assert overtuning(test) == pytest.approx(lost, nan_ok=True)

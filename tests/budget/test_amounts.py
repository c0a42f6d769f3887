"""Amounts are multiples of 1/1024 of an epoch."""

import pytest

from hpo_gn.budget.amounts import plain, rounded_up


@pytest.mark.parametrize(
    ("amount", "steps"),
    [
        (0, 0),
        (1, 1024),
        (0.5, 512),
        (1 / 1024, 1),
        (1e-9, 1),
        (0.1, 103),
        (1 / 1024 + 1e-9, 2),
        (3.0001, 3073),
    ],
)
def test_are_rounded_up(amount, steps):
    assert rounded_up(amount) * 1024 == steps


def test_add_up_exactly_as_decimals_do_not():
    assert sum([0.1] * 1024) != 0.1 * 1024
    assert sum([rounded_up(0.1)] * 1024) == 103
    assert 2**31 + 1 / 1024 > 2**31


@pytest.mark.parametrize(("amount", "shown"), [(12.0, "12"), (12, "12"), (0.5, "0.5"), (0.0, "0")])
def test_print_as_integers_where_they_are(amount, shown):
    assert str(plain(amount)) == shown

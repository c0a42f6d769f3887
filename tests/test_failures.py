"""What failed, in one line; whole trials that fail are in test_bad_outcomes.py."""

import decimal
import fractions
import re
from typing import Any

import numpy as np
import pytest
import torch
from optuna.exceptions import StorageInternalError, TrialPruned

from hpo_gn.errors import ArgumentError, HpoGnError
from hpo_gn.failures import TrialFailedError, as_number, describe, explained, one_line, users_code


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (2, 2.0),
        (-0.5, -0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3.0),
        (torch.tensor(0.25), 0.25),
        (torch.tensor([0.25]), 0.25),
        (fractions.Fraction(1, 4), 0.25),
        (decimal.Decimal("0.25"), 0.25),
        (float("inf"), float("inf")),
    ],
)
def test_a_number_is_a_float(value: Any, number: float) -> None:
    taken = as_number(value)
    assert (type(taken), taken) == (float, number)


@pytest.mark.parametrize("value", [None, "1", b"1", True, np.True_, 1j, [1.0], {}, torch.zeros(2), 10**400])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(TrialFailedError, match=r"^the objective must give a number, got ") as caught:
        as_number(value)
    assert caught.value.traceback is None


def test_one_line_is_short_and_printable() -> None:
    assert one_line(" a\n\tb\r\n c\x1b[31m\x00\ud800é ") == "a b c\ufffd[31m\ufffd\ufffdé"
    assert one_line("x" * 300) == "x" * 300
    assert one_line("x" * 301) == "x" * 299 + "…"


def test_an_exception_without_words_is_its_name() -> None:
    assert describe(ValueError("  ")) == "ValueError"


@pytest.mark.parametrize("passing", [KeyboardInterrupt, TrialPruned, StorageInternalError, ZeroDivisionError])
def test_what_passes_a_users_code(passing: type[BaseException]) -> None:
    with pytest.raises(passing), users_code(ZeroDivisionError):
        raise passing


def test_anything_else_fails_the_trial() -> None:
    with (
        pytest.raises(TrialFailedError, match=r"^ZeroDivisionError: division by zero$") as caught,
        users_code(),
    ):
        1 / 0  # noqa: B018
    assert "in test_anything_else_fails_the_trial" in str(caught.value.traceback)


def test_what_fails_before_there_are_trials_says_where() -> None:
    with pytest.raises(HpoGnError) as caught, explained("the model cannot be made"):
        1 / 0  # noqa: B018
    line = r"the model cannot be made: ZeroDivisionError: division by zero \(test_failures\.py, line \d+\)"
    assert re.fullmatch(line, str(caught.value))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_wrong_syntax_says_where_itself() -> None:
    with pytest.raises(HpoGnError) as caught, explained("no"):
        compile("def f(:", "own.py", "exec")
    assert str(caught.value) == "no: SyntaxError: invalid syntax (own.py, line 1)"


def test_leaving_is_a_failure_and_a_mistake_or_ctrl_c_is_left_as_it_is() -> None:
    with pytest.raises(HpoGnError, match="no: SystemExit: 0"), explained("no"):
        raise SystemExit(0)
    for error in (ArgumentError("width", "even", 3), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, explained("no"):
            raise error
        assert caught.value is error

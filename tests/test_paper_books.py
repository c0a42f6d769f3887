"""The books on paper against the ledger that they stand for."""

import random
from contextlib import suppress

import optuna
import pytest

from hpo_gn.budget import Ledger
from hpo_gn.errors import BudgetExhaustedError
from hpo_gn.paper_books import PaperBooks, paper_study


def a_trial(number):
    trial = optuna.trial.create_trial(value=0.0)
    trial.number = number
    return trial


def hold(books, number=0, *, epochs=4, gpus=1, measuring=0.0):
    return books.hold(a_trial(number), epochs=epochs, gpus=gpus, measuring=measuring)


def test_a_hold_returns_what_it_did_not_charge():
    books = PaperBooks(10)
    held = hold(books, gpus=2)
    assert (books.account().held, books.account().left) == (8, 2)
    assert books.open_holds() == [{"trial": 0}]
    held.charge()
    held.charge(2)
    assert (books.account().held, books.account().spent) == (2, 6)
    held.settle()
    held.settle()
    assert (books.account().held, books.account().spent, books.account().left) == (0, 6, 4)
    assert books.open_holds() == []


def test_more_than_is_left_or_held_is_refused():
    books = PaperBooks(5)
    held = hold(books)
    with pytest.raises(BudgetExhaustedError):
        hold(books, 1, epochs=2)
    with pytest.raises(BudgetExhaustedError):
        held.charge(5)
    with pytest.raises(BudgetExhaustedError):
        hold(PaperBooks(5), measuring=0.26)


def test_epochs_recorded_at_once_are_those_recorded_one_by_one():
    one, many = PaperBooks(100), PaperBooks(100)
    first, second = (hold(books, gpus=2, measuring=0.3) for books in (one, many))
    for _ in range(4):
        first.charge()
        first.record(training_s=3.0, measuring_s=1.0)
    second.charge(4)
    second.record(training_s=3.0, measuring_s=1.0, epochs=4)
    assert one.account() == many.account()
    assert one.seconds() == many.seconds() == (12.0, 4.0)


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_leaves_what_it_leaves_in_the_ledger(tmp_path, seed):
    draw = random.Random(seed)
    books, ledger = PaperBooks(40), Ledger(f"sqlite:///{tmp_path / 'l.db'}", "s", limit=40)
    for number in range(6):
        wanted = {"epochs": draw.randint(1, 6), "gpus": draw.randint(1, 2)}
        wanted["measuring"] = draw.choice([0.0, 0.1, 0.7])
        paper = real = None
        with suppress(BudgetExhaustedError):
            paper = books.hold(a_trial(number), **wanted)
        with suppress(BudgetExhaustedError):
            real = ledger.hold(number, **wanted)
        assert (paper is None) == (real is None)
        if paper is None:
            continue
        for epoch in range(1, draw.randint(0, wanted["epochs"]) + 1):
            took = {"training_s": draw.uniform(1, 2), "measuring_s": draw.choice([0.0, 0.2, 3.0])}
            paper.charge()
            paper.record(**took)
            real.charge(epoch)
            real.record(epoch, **took)
        account = ledger.account()
        assert books.account().held == account.held
        assert books.account().spent == account.spent
        paper.settle()
        real.settle()
    assert books.account().left == ledger.account().left
    assert books.seconds() == pytest.approx(ledger.seconds())
    ledger.close()


def test_the_turn_is_free_and_nobody_dies():
    books = PaperBooks(1)
    with books.turn() as turn:
        turn.confirm()
    assert (books.deaths(0), books.open_holds()) == (0, [])


def test_a_study_on_paper_says_nothing(caplog):
    before = optuna.logging.get_verbosity()
    study = paper_study(optuna.samplers.RandomSampler(), "named")
    assert (study.study_name, caplog.records, optuna.logging.get_verbosity()) == ("named", [], before)

import math
from dataclasses import dataclass

import pytest
from ConfigSpace import ConfigurationSpace, Float

from hpo_gn import Experiment, make_objective
from hpo_gn.errors import DataError
from hpo_gn.measures import AGN, Cost, MeanLoss, OnlineAGN, Row, Spectrum
from hpo_gn.recorded.needs import Needs, check_table
from tests.recorded.runs import COSTS, EPOCHS, SPACE, a_run, a_table
from tests.recorded.test_replay import experiment, falling

TABLE = a_table(falling(0, 1.0))


@dataclass(frozen=True)
class Reads:
    """An objective that asks for measures and reads one column."""

    asked: tuple = ()
    column: str = "val_loss"

    @property
    def measures(self):
        return self.asked

    def __call__(self, history):
        return history.last(self.column)


def row_of(*, costs=COSTS, **columns):
    return Row({"val_loss": 1.0, "agn": 2.0} | columns, costs)


SPECTRA = COSTS | {"spectrum:7": Cost(0.0625, 0, 0), "test": Cost(9.0, 1, 0)}


@pytest.mark.parametrize(
    ("measures", "costs", "seconds"),
    [
        ((), COSTS, 0.0),
        ((MeanLoss("validation"),), COSTS, 0.625),
        ((AGN(),), COSTS, 2.25),
        ((AGN(), MeanLoss("validation"), MeanLoss("train")), COSTS, 2.875),
        ((Spectrum(),), SPECTRA, 0.5 + 0.125 + 0.25 + 0.0625),
        ((OnlineAGN(),), COSTS, 0.0),
        ((), {}, 0.0),
    ],
)
def test_only_what_is_needed_is_paid(measures, costs, seconds):
    needs = Needs.of(experiment(objective=Reads(measures)))
    assert needs.measuring_s(row_of(costs=costs)) == seconds


def test_a_pruners_signals_are_paid_too():
    needs = Needs.of(experiment(pruner="give-up", signal="s-fv"))
    assert needs.measuring_s(row_of(costs=SPECTRA)) > 0.5 + 0.125
    assert Spectrum() in needs.measures


def test_what_measuring_took_is_unknown_where_nobody_wrote_it_down():
    assert math.isnan(Needs((MeanLoss("validation"),)).measuring_s(row_of(costs={})))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": Reads(column="osgr")}, r"lacks what Reads\(.*\) reads: .* no 'osgr' .* it has: agn, "),
        ({"objective": make_objective("s-fv")}, "lacks what SFv.* reads: .*Spectrum's columns"),
        ({"objective": Reads((Spectrum(),))}, "lacks the columns spectrum:…; it has: agn, train_majority, "),
        ({"pruner": "give-up", "signal": "s-f"}, "lacks the columns spectrum:…"),
        ({"objective": Reads((MeanLoss("train"),))}, "lacks the column 'train_loss'; it has: agn, "),
        ({"objective": Reads((AGN(samples=9),))}, "column 'agn' is of all samples, not of 9"),
    ],
)
def test_a_table_that_lacks_what_is_read_is_refused(settings, message):
    made = experiment(**settings)
    with pytest.raises(DataError, match=message) as error:
        Needs.of(made).check(made, TABLE)
    assert "\n" not in str(error.value)


def test_an_estimate_is_not_taken_for_the_whole():
    run = falling(0, 1.0)
    for row in run.history.rows:
        row["agn_standard_error"] = 0.1
    made = experiment(objective=make_objective("agn-val"))
    with pytest.raises(DataError, match="column 'agn' is of some samples, not of all"):
        Needs.of(made).check(made, a_table(run))
    sampled = experiment(objective=Reads((AGN(samples=9),)))
    Needs.of(sampled).check(sampled, a_table(run))


def test_a_table_without_a_whole_run_has_nothing_to_check():
    made = experiment(objective=Reads(column="osgr"))
    Needs.of(made).check(made, a_table(a_run(0, reason="diverged at epoch 1: NaN", epochs=1)))


OTHER_SPACE = ConfigurationSpace(space=[Float("learning_rate", (1e-4, 1.0), log=True)])


@pytest.mark.parametrize(
    ("made", "table", "message"),
    [
        (experiment(), a_table(), "has no runs"),
        (experiment(epochs=5), TABLE, "have 4 epochs, not 5"),
        (
            Experiment("digits", OTHER_SPACE, make_objective("val-loss"), training="m:f", epochs=EPOCHS),
            TABLE,
            "space is not the experiment's: it differs in batch_size",
        ),
        (
            experiment(),
            a_table(falling(0, 1.0), space={"learning_rate": SPACE["learning_rate"]}),
            "differs in batch_size",
        ),
        (experiment(), a_table(falling(0, 1.0), data="mnist"), "made with data 'mnist', not 'digits'"),
        (experiment(), a_table(falling(0, 1.0), fraction=1.0), "made with fraction 1.0, not 0.2"),
    ],
)
def test_another_experiments_table_is_refused(made, table, message):
    with pytest.raises(DataError, match=message):
        check_table(made, table)


def test_the_experiments_own_table_is_taken():
    check_table(experiment(), a_table(falling(0, 1.0), data="digits", fraction=0.2))

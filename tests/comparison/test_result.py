import json
import math

import pytest

from hpo_gn.comparison.result import CellResult, Incumbent
from hpo_gn.errors import DataError
from tests.comparison.cell_results import failed, result


@pytest.mark.parametrize("cell", [result(), failed(), result(accuracy=math.nan, test_accuracy=())])
def test_json_gives_it_back(cell):
    line = cell.to_json()
    assert "\n" not in line
    assert CellResult.from_json(line).to_json() == line


def test_what_is_not_finite_is_null_in_json_and_nan_again():
    unknown = Incumbent(0, 8.0, 10.0, math.inf, math.nan, 0.8)
    line = result(incumbents=(unknown,), chance=math.nan).to_json()
    assert "NaN" not in line
    assert "Infinity" not in line
    found = CellResult.from_json(line)
    assert all(math.isnan(each) for each in (found.chance, found.incumbents[0].val_loss))


def test_json_keeps_every_type():
    assert CellResult.from_json(result().to_json()) == result()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        json.dumps(json.loads(result().to_json()) | {"more": 1}),
        json.dumps(json.loads(result().to_json()) | {"labels": {"objective": "val-loss"}}),
        json.dumps(json.loads(result().to_json()) | {"incumbents": [1]}),
    ],
)
def test_a_damaged_line_is_refused(line):
    with pytest.raises(DataError, match="not a result of a cell"):
        CellResult.from_json(line)


@pytest.mark.parametrize(
    ("cell", "score"),
    [
        (result(test_accuracy=(0.8, 0.9)), 0.85),
        (result(test_accuracy=(0.9,), failed_retrainings=1), 0.5),
        (result(test_accuracy=(), failed_retrainings=2), 0.1),
        (failed(), 0.1),
        (result(test_accuracy=()), math.nan),
    ],
)
def test_a_failure_counts_as_chance(cell, score):
    assert cell.score == pytest.approx(score, nan_ok=True)

import pytest

from hpo_gn.comparison.cells import make_cells
from hpo_gn.comparison.forecast import forecast
from hpo_gn.comparison.spec import read_spec
from hpo_gn.probe import Probe
from tests.comparison.written import write_spec

PROBE = Probe(training_s=2.0, measuring_s=1.0, samples=100, full_samples=500)


@pytest.fixture
def cells(tmp_path):
    return make_cells(read_spec(write_spec(tmp_path, objective=["val-loss", "agn-val"], seed=3)))


def test_time_is_that_of_training_measuring_retraining_and_writing(cells):
    found = forecast(
        cells,
        budget=8,
        retrainings=2,
        workers=3,
        probes={("mlp", "digits"): PROBE},
        write_s=0.01,
    )
    search_s, retraining_s = 8 * (2 + 1), 2 * 4 * 2 * 5
    writing_s = (8 + 8) * 10 * 0.01
    assert found.retraining == 8
    assert found.seconds == pytest.approx(6 / 3 * (search_s + retraining_s + writing_s))
    assert str(found).startswith(
        "6 cells × 8 = 48 GPU×epochs, and 48 of retraining: about 0:03:31, 3 at once"
    )


def test_without_a_probe_nothing_is_said_of_time(cells):
    found = forecast(cells[:1], budget=8, retrainings=1, workers=1)
    assert str(found) == "1 cell × 8 = 8 GPU×epochs, and 4 of retraining"

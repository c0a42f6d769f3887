import numpy as np
import pytest
import scipy.stats

from benchmarks.searchers import __main__ as module
from benchmarks.searchers.__main__ import run
from benchmarks.searchers.contestants import contestants
from tests.benchmarks.searchers.made import made_table

HERE = contestants()


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(module, "EVALUATIONS", 25)


@pytest.mark.parametrize("name", ["random", "cma-es", "particle-swarm", "tpe", "optuna random", "optuna tpe"])
def test_a_search_spends_everything_and_is_a_function_of_its_seed(name):
    first, again, other = (run(name, HERE[name], made_table(), seed) for seed in (5, 5, 6))
    assert first.spent == 50
    assert vars(first) == vars(again)
    assert first.curve != other.curve


@pytest.mark.parametrize("name", ["optuna cma-es", "optuna cma-es, ordinal"])
def test_optunas_cma_es_takes_part_where_its_library_is(name):
    pytest.importorskip("cmaes")
    found = run(name, HERE[name], made_table(), 0)
    assert found.spent == 50
    assert found.curve[-1][1] < found.curve[0][1]


@pytest.mark.parametrize("name", ["bohb", "hyperband", "hpbandster bohb"])
def test_searches_with_fidelities_start_with_one_repeat(name):
    pytest.importorskip("hpbandster")
    first, again = (run(name, HERE[name], made_table(), 5) for _ in range(2))
    assert vars(first) == vars(again)
    assert first.curve[0][0] == 1
    assert 49 <= first.spent <= 50
    assert first.curve[-1][1] < first.curve[0][1]


@pytest.mark.parametrize(("mean", "width"), [(0.0, 0.003), (1.0, 3.0), (0.3, 0.05), (0.999, 1e-3)])
def test_quick_normals_are_scipys(mean, width):
    pytest.importorskip("hpbandster")
    from benchmarks.searchers.hpbandster_bohb import truncated_normal

    bounds = -mean / width, (1 - mean) / width
    before = np.random.get_state()
    try:
        for seed in range(20):
            np.random.seed(seed)
            quick = truncated_normal(*bounds, loc=mean, scale=width)
            np.random.seed(seed)
            assert quick == pytest.approx(
                scipy.stats.truncnorm.rvs(*bounds, loc=mean, scale=width), abs=1e-14
            )
    finally:
        np.random.set_state(before)

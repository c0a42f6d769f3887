import io

import pytest
from rich.console import Console

from hpo_gn.comparison.report import write_report
from tests.comparison.cell_results import failed, result


def written(results, folder, **others):
    page, short = write_report(results, folder, "A comparison", **others)
    shown = io.StringIO()
    Console(file=shown, width=160).print(short)
    return page.read_text(), page.with_suffix(".md").read_text(), shown.getvalue()


def cells():
    for seed in range(6):
        for objective, better in (("val-loss", 0), ("agn-val", 0.02), ("rank-sum", 0.0)):
            for searcher in ("random", "cma-es"):
                gain = better and better + 0.001 * (seed % 3 - 1)
                yield result(objective, 0.7 + 0.03 * seed + gain, seed, searcher=searcher)


def test_the_page_says_in_words_whether_it_helped(tmp_path):
    page, markdown, shown = written(list(cells()), tmp_path)
    verdict = "helped: agn-val with random, agn-val with cma-es; no evidence: rank-sum with random"
    for text in (page, markdown, " ".join(shown.split())):
        assert verdict in text
    assert "+2.00" in markdown
    for heading in ("Did it help?", "Test accuracy", "Ranks", "Anytime curves", "Overtuning", "Every cell"):
        assert f">{heading}<" in page
        assert f"## {heading}" in markdown


def test_failed_and_missing_cells_are_shown(tmp_path):
    results = [*list(cells())[:-1], failed("rank-sum", 5, searcher="cma-es")]
    page, markdown, _ = written(results, tmp_path, missing=["hpo-gn compare a.yaml --only x"])
    assert "no trial was completed" in page
    assert "1 of 36 cells failed" in markdown
    assert "hpo-gn compare a.yaml --only x" in page


def test_one_objective_has_nothing_to_be_compared_with(tmp_path):
    _, markdown, shown = written([result()], tmp_path)
    assert "nothing to compare it with" in markdown
    assert "baseline" in shown


def test_winners_that_were_not_tested_are_counted_aloud(tmp_path):
    untested = result("rank-sum", seed=5, searcher="cma-es", test_accuracy=())
    page, _, shown = written([*list(cells())[:-1], untested], tmp_path)
    said = "35 of 36 winners were tested; the others are in no figure of test accuracy."
    assert said in page
    assert said in " ".join(shown.split())


def test_few_pairs_are_too_few(tmp_path):
    _, markdown, _ = written([result(), result("agn-val")], tmp_path)
    assert "too few to tell: agn-val with random" in markdown


@pytest.mark.parametrize("results", [[result(accuracy=0.5, test_accuracy=())], [failed()]])
def test_a_page_without_any_test_accuracy(results, tmp_path):
    page, _, _ = written(results, tmp_path)
    assert "<svg" in page or "failed" in page


def test_the_same_results_give_the_same_page(tmp_path):
    first = written(list(cells()), tmp_path / "a")
    assert written(list(cells()), tmp_path / "b") == first

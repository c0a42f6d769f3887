"""The examples of docs/ run as they stand."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
MEASURES = {"agn", "gn", "gsnr", "spectrum", "early_success", "sharpness", "initialization"}


def test_every_measure_has_a_page():
    assert {page.stem for page in (DOCS / "measures").glob("*.md")} == MEASURES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert examples
    for example in examples:
        exec(example, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_it_says_when_it_misleads_and_what_it_costs(page):
    headings = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    assert {"When it misleads", "What it costs"} <= {heading.strip() for heading in headings}
    assert any(heading.startswith("What") and "say" in heading for heading in headings)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target

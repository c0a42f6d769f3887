"""The examples of docs/ run as they stand."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
MEASURE_PAGES = sorted((DOCS / "measures").glob("*.md"))
PAGES = sorted(DOCS.glob("**/*.md"))
WITH_EXAMPLES = [page for page in PAGES if "```python" in page.read_text()]
MEASURES = {"agn", "gn", "gsnr", "spectrum", "early_success", "sharpness", "initialization", "fit"}


def test_every_measure_has_a_page():
    assert {page.stem for page in MEASURE_PAGES} == MEASURES
    assert set(MEASURE_PAGES) < set(WITH_EXAMPLES)


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.stem)
def test_its_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    for example in examples:
        exec(example, {})


@pytest.mark.parametrize("page", MEASURE_PAGES, ids=lambda page: page.stem)
def test_it_says_when_it_misleads_and_what_it_costs(page):
    headings = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    assert {"When it misleads", "What it costs"} <= {heading.strip() for heading in headings}
    assert any(heading.startswith("What") and "say" in heading for heading in headings)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target

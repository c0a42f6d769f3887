"""Pages in a real browser."""

import re

import pytest

from hpo_gn.page.document import Section, Table, figure, write_document
from hpo_gn.page.study_page import study_sections
from tests.page.studies import HOSTILE, all_sorts, make_study

SECTIONS = [
    "What was searched",
    "Did the extra signal help?",
    "What each objective would have chosen",
    "Anytime performance",
    "Configurations",
    "Measures and the generalization gap",
    "Giving up early",
    "What the measures cost",
    "Budget use",
]
WIDE, NARROW = 1280, 500  # Chromium's narrowest window


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    verdict, sections = study_sections(make_study(all_sorts(), HOSTILE))
    return write_document(tmp_path_factory.mktemp("page"), "shown", HOSTILE, sections, verdict.sentence)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)])
def test_a_page_is_shown_whole_without_network_or_error(page, look, width, dark):
    seen = look(page, width, dark=dark)
    assert seen.console == []
    measured = seen.measured
    assert measured["requests"] == []
    assert measured["headings"] == SECTIONS
    assert measured["width"] == width
    assert measured["scroll_width"] <= width
    assert len(measured["tables"]) >= 6
    assert all(rows > 1 and width > 100 and height > 30 for rows, width, height in measured["tables"])
    assert len(measured["drawings"]) == 4
    assert all(width > 300 and height > 150 and paths > 20 for width, height, paths in measured["drawings"])
    assert (measured["unlabelled"], measured["repeated_ids"], measured["broken"]) == (0, [], [])
    light = sum(map(int, re.findall(r"\d+", measured["ground"])[:3])) > 3 * 128
    assert light is not dark


@pytest.mark.slow
def test_a_frame_of_400_pixels_is_filled_and_not_overflowed(page, look, tmp_path):
    # A window cannot be narrower than 500 pixels, a frame can.
    inside = page.read_text().replace("&", "&amp;").replace('"', "&quot;")
    frame = f'<iframe style="width:400px;height:900px;border:0" srcdoc="{inside}"></iframe>'
    script = (
        "<script>addEventListener('load', () => { const root = document.querySelector('iframe')"
        ".contentDocument.documentElement; const place = document.createElement('h2');"
        "place.textContent = root.clientWidth + ' ' + root.scrollWidth; document.body.append(place); });"
        "</script>"
    )
    outer = tmp_path / "outer.html"
    outer.write_text(f"<!DOCTYPE html><body>{script}{frame}</body>")
    assert look(outer, WIDE).measured["headings"] == ["400 400"]


@pytest.mark.slow
def test_the_browser_notices_what_is_wrong(look, tmp_path):
    drawn = figure("drawn", lambda drawing: drawing.subplots().plot([1, 2]))
    page = write_document(tmp_path, "bad", "Bad", [Section("One", figures=(drawn,))])[0]
    bad = (
        '<img src="http://example.org/away.png"><p style="min-width:3000px">wide</p>'
        '<b id="title-1"></b><script>missing()</script>'
    )
    page.write_text(page.read_text().replace("</main>", f"{bad}</main>"))
    seen = look(page, WIDE)
    assert len(seen.console) == 1
    assert "missing is not defined" in seen.console[0]
    assert seen.measured["requests"] == ["http://example.org/away.png"]
    assert seen.measured["scroll_width"] >= 3000
    assert seen.measured["repeated_ids"] == ["title-1"]


def test_nothing_on_a_page_points_elsewhere(page):
    text = page.read_text()
    links = re.findall(r"""(?:\bsrc|\bhref|\baction|\bdata)\s*=\s*["']?([^"'\s>]*)""", text)
    assert links
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert all(link.startswith("#") for link in re.findall(r"url\(\s*['\"]?([^)]*)", text))
    assert "@import" not in text
    assert "<script" not in text


def test_tables_have_heads_with_scopes():
    html = Table("a < b", ("name", "count"), [("x", "1"), ("y", "-2.5e-07")]).html()
    assert html.count('scope="col"') == 2
    assert html.count('scope="row"') == 2
    assert html.count('class="number"') == 3
    assert "a &lt; b" in html

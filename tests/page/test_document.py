import re
import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from hpo_gn.page.document import Section, Table, figure, write_document
from hpo_gn.page.drawing import GROUND, INK
from tests.page.studies import HOSTILE

ROWS = [("val_loss", "0.1 ± 0.2", HOSTILE), ("a|b", "12.5 %", "50 % & x_y^2")]
TABLE = Table(HOSTILE, ("name", "mean", "words"), ROWS, "Note: α & β.")


def drawn(title="Drawn", note=""):
    def draw(drawing):
        axes = drawing.subplots()
        axes.plot([1, 2, 30000], [1, 4, 2], label=HOSTILE)
        axes.set(xlabel="a$b$ 中", xscale="log")
        axes.legend()

    return figure(title, draw, note)


@pytest.fixture(scope="module")
def sections():
    text = (HOSTILE, "Text with 100 %.")
    return [
        Section(HOSTILE, text, (TABLE,), (drawn(), drawn()), ("hpo-gn report --retrain",)),
        Section("Empty"),
        Section("Again", (), (TABLE,), (drawn(),)),
    ]


def written(folder, sections):
    return [file.read_text() for file in write_document(folder, "d", HOSTILE, sections, "Lead & <b>.")]


def test_the_files_are_named_by_the_stem(tmp_path, sections):
    files = write_document(tmp_path / "new", "stem", "t", sections)
    assert [file.name for file in files] == ["stem.html", "stem.md", "stem.tex"]
    assert sorted(files) == sorted((tmp_path / "new").iterdir())


def test_the_same_document_has_the_same_bytes(tmp_path, sections):
    first, second = written(tmp_path, sections), written(tmp_path / "other", sections)
    assert first == second
    assert drawn() == sections[0].figures[0]
    assert "date" not in drawn().svg.lower()


def test_hostile_text_is_shown_and_not_run(tmp_path, sections):
    html, md, tex = written(tmp_path, sections)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 7
    assert "<script" not in md
    assert "Lead &amp; &lt;b&gt;." in html
    assert "<b>" not in md + tex


def test_no_id_is_used_twice_and_every_reference_leads_somewhere(tmp_path, sections):
    html = written(tmp_path, sections)[0]
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids)) > 20
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)
    assert len(references) > 20
    assert {one or other for one, other in references} <= set(ids)


def test_a_figure_takes_the_pages_colours_and_is_well_formed():
    svg = drawn().svg
    assert "currentColor" in svg
    assert INK not in svg
    assert GROUND not in svg
    assert ElementTree.fromstring(svg).get("viewBox")
    assert not re.search(r'^<svg[^>]* (width|height)="', svg)


def test_a_figures_title_and_note_are_its_description(tmp_path):
    html = written(tmp_path, [Section("s", figures=(drawn("A & B", "How <to> read."),))])[0]
    assert 'role="img" aria-label="A &amp; B. How &lt;to&gt; read."' in html


def test_markdown_has_a_row_a_line(tmp_path, sections):
    md = written(tmp_path, sections)[1]
    lines = [line for line in md.splitlines() if line.startswith("|")]
    assert len(lines) == 2 * 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {4}
    assert lines[1] == "| --- | --: | --- |"
    assert "```\nhpo-gn report --retrain\n```" in md


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [
        (("1", "2.5", ""), True),
        (("-2.5e-07", "+3 %", "1,024"), True),
        (("0.93 ± 0.01", "−1 [−2, 3], n = 4"), True),
        (("inf", "nan"), True),
        (("1", "x"), False),
        (("", ""), False),
        (("3 trials",), False),
    ],
)
def test_columns_of_numbers_are_known(cells, numeric):
    assert Table("t", ("c",), [(cell,) for cell in cells]).numeric == (numeric,)


def test_a_table_without_rows_is_written():
    table = Table("t", ("a", "b"), [])
    assert "<tbody>" in table.html()
    assert table.markdown().endswith("| --- | --- |")
    assert r"\midrule" in table.latex()


def test_latex_balances_and_escapes(tmp_path, sections):
    tex = written(tmp_path, sections)[2]
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", tex):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") == 2
    for table in re.findall(r"\\toprule(.*?)\\bottomrule", tex, re.DOTALL):
        rows = [line for line in table.strip().splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {2}
        assert not re.search(r"(?<!\\)[%#_]", table)


def test_latex_compiles(tmp_path, sections):
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex")
    write_document(tmp_path, "d", "t", sections)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "d.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-2000:]

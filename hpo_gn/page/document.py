"""A document of sections with tables and figures: one HTML page without network, Markdown and LaTeX."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hpo_gn.local_files import LocalFiles
from hpo_gn.page.drawing import Figure, figure
from hpo_gn.page.text import latex, markdown, plain

__all__ = ["Figure", "Section", "Table", "figure", "write_document"]

_NUMBER = re.compile(
    r"[+−-]?\d[\d.,]*(e[+−-]?\d+)?( ?%| ?×| s)?( ±.*| \[.*| \(.*)?|[-–—]?|nan|inf", re.IGNORECASE
)
_LONG = 32  # characters, from which a column of LaTeX is broken into lines
_FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""A table that is too wide for the page is made as wide as the page."""
_PREAMBLE = r"""\documentclass[a4paper]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage[margin=2cm]{geometry}
"""


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Args:
        title: what it shows.
        columns: their heads.
        rows: as many cells each.
        note: how to read it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers only, so that they are aligned to the right."""
        cells = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.columns)
        return tuple(any(map(str.strip, column)) and all(map(_NUMBER.fullmatch, column)) for column in cells)

    def html(self) -> str:
        """As an HTML element."""
        return _environment().get_template("table.html").render(table=self)

    def markdown(self) -> str:
        """As a Markdown table below its title."""
        rule = ["--:" if right else "---" for right in self.numeric]
        rows = [[markdown(cell) for cell in row] for row in (self.columns, *self.rows)]
        lines = [f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])]
        return _joined(f"**{markdown(self.title)}**", "\n".join(lines), markdown(self.note))

    def latex(self) -> str:
        """As a LaTeX table for booktabs and graphicx."""
        rows = [" & ".join(map(latex, row)) + r" \\" for row in (self.columns, *self.rows)]
        lines = (
            r"\begin{table}[htbp]",
            r"\centering\footnotesize",
            rf"\caption{{{latex(self.title)}}}",
            _FITTED,
            rf"\begin{{tabular}}{{@{{}}{self._alignment()}@{{}}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}}",
            *([rf"\par\smallskip {latex(self.note)}"] if self.note else []),
            r"\end{table}",
        )
        return "\n".join(lines)

    def _alignment(self) -> str:
        columns = zip(self.columns, *self.rows, strict=True)
        widths = [max(map(len, column)) for column in columns]
        broken = sum(width > _LONG for width in widths)
        kinds = (
            rf"p{{{0.6 / broken:.2f}\textwidth}}" if width > _LONG else "r" if right else "l"
            for width, right in zip(widths, self.numeric, strict=True)
        )
        return "".join(kinds)


@dataclass(frozen=True)
class Section:
    """A part of a document under its own title.

    Args:
        title: its heading.
        paragraphs: text.
        tables, figures: shown below the text.
        commands: command lines that the text names.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    commands: tuple[str, ...] = ()

    def markdown(self) -> str:
        """As Markdown; of a figure its title and note."""
        drawn = (f"*Figure: {markdown(each.title)}.* {markdown(each.note)}".strip() for each in self.figures)
        commands = (f"```\n{plain(each)}\n```" for each in self.commands)
        tables = (each.markdown() for each in self.tables)
        head = f"## {markdown(self.title)}"
        return _joined(head, *map(markdown, self.paragraphs), *commands, *tables, *drawn)

    def latex(self) -> str:
        """As LaTeX: text and tables."""
        commands = (rf"\noindent\texttt{{{latex(each)}}}" for each in self.commands)
        tables = (each.latex() for each in self.tables)
        head = rf"\section*{{{latex(self.title)}}}"
        return _joined(head, *map(latex, self.paragraphs), *commands, *tables)


def write_document(
    folder: Path, stem: str, title: str, sections: Sequence[Section], lead: str = ""
) -> tuple[Path, Path, Path]:
    """Write `<stem>.html`, a page that needs no other file and no network, `<stem>.md` and `<stem>.tex`.

    Args:
        folder: where; made if it is missing.
        stem: the files' name.
        title: the document's.
        sections: its parts, in order.
        lead: the sentence that matters most, shown first.

    Returns:
        The three files.
    """
    page = _environment().get_template("document.html")
    contents = {
        "html": page.render(title=plain(title), lead=lead, sections=sections, style=_style()),
        "md": _markdown(title, lead, sections),
        "tex": _latex(title, lead, sections),
    }
    for ending, content in contents.items():
        LocalFiles(folder).write(f"{stem}.{ending}", f"{content.rstrip()}\n".encode())
    return folder / f"{stem}.html", folder / f"{stem}.md", folder / f"{stem}.tex"


def _markdown(title: str, lead: str, sections: Sequence[Section]) -> str:
    first = f"**{markdown(lead)}**" if lead else ""
    return _joined(f"# {markdown(title)}", first, *(each.markdown() for each in sections))


def _latex(title: str, lead: str, sections: Sequence[Section]) -> str:
    head = rf"\section*{{\Large {latex(title)}}}"
    first = rf"\noindent\textbf{{{latex(lead)}}}" if lead else ""
    body = (each.latex() for each in sections)
    return _joined(_PREAMBLE, r"\begin{document}", head, first, *body, r"\end{document}")


def _joined(*parts: str) -> str:
    """Parts with an empty line between, those that are empty left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part)


@cache
def _environment() -> Environment:
    loader = PackageLoader("hpo_gn.page", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = plain
    return environment


@cache
def _style() -> Markup:
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), "style.css")[0])

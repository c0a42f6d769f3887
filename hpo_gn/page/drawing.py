"""Figures as inline SVG that follows the page's colours, the same bytes for the same drawing."""

import io
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
from cycler import cycler
from markupsafe import Markup
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

INK = "#010203"
"""Draw in this colour what is to have the colour of the page's text."""
GROUND = "#fcfdfe"
"""Likewise for what must have the colour behind the figure."""
COLOURS = ("#3d85c6", "#d9822b", "#3a9d6b", "#cf4f5f", "#8a6fc9", "#8a8f98", "#b59a2a", "#2fa3a8")
"""For lines and points, readable on light and dark ground."""
SHADES = LinearSegmentedColormap.from_list("good to bad", ("#2f7fd6", "#8a8f98", "#e0862b"))
"""For values from the best, blue, to the worst, orange."""

_SETTINGS: Any = {
    "svg.hashsalt": "hpo_gn",
    "svg.fonttype": "path",  # the same width everywhere, so that nothing overlaps
    "text.parse_math": False,  # a hyperparameter may be called $x$
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.grid": True,
    "grid.color": "#8a8f98",
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.labelcolor": INK,
}
_FEW_DECADES = 2
_DROPPED = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->| xmlns(:xlink)?=\"[^\"]*\"", re.DOTALL)
_SIZE = re.compile(r' width="([\d.]+)pt" height="([\d.]+)pt"| height="([\d.]+)pt" width="([\d.]+)pt"')
_NAMED = re.compile(r'(\bid="|\bhref="#|url\(#)')


@dataclass(frozen=True)
class Figure:
    """A drawing with its title.

    Args:
        title: what it shows, also to those who cannot see it.
        svg: an SVG element, as `figure` makes it.
        note: how to read it.
    """

    title: str
    svg: str
    note: str = ""

    def inline(self, prefix: str) -> Markup:
        """The SVG element for a page of several: its ids begin with the prefix."""
        return Markup(_NAMED.sub(rf"\g<1>{prefix}-", self.svg))


def figure(
    title: str, draw: Callable[[Drawing], None], note: str = "", size: tuple[float, float] = (7.4, 3.8)
) -> Figure:
    """A figure that a function draws.

    Args:
        title: what it shows.
        draw: draws on the empty matplotlib figure that it is given; in `INK` what must follow the page's
            text.
        note: how to read it.
        size: width and height in inches.
    """
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the name of a hyperparameter in any script
        drawing = Drawing(figsize=size, layout="constrained")
        draw(drawing)
        _plain_ticks(drawing)
        file = io.StringIO()
        drawing.savefig(file, format="svg", metadata={"Date": None})
    return Figure(title, _element(file.getvalue()), note)


def _plain_ticks(drawing: Drawing) -> None:
    """Logarithmic axes get labels without mathematical signs, which are not read as such here, and enough of
    them where they span little.
    """
    for axes in drawing.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() != "log":
                continue
            low, high = sorted(axis.get_view_interval())
            decades = math.log10(high / low) if low > 0 else math.inf
            if decades < _FEW_DECADES:
                axis.set_major_locator(MaxNLocator(4) if decades < 1 / 2 else LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())


def _element(svg: str) -> str:
    """The SVG element alone, without what has no place inside HTML."""
    element = _DROPPED.sub("", svg[svg.index("<svg") :]).replace("xlink:href", "href")
    element = _SIZE.sub("", element, count=1).replace(INK, "currentColor").replace(GROUND, "var(--card)")
    return element.strip()

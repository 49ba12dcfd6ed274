"""What all figures share: their look, and their bytes.

A *plate* is a figure of pictures on a dark ground, which suits light and dark pages. A *chart* is drawn in `INK`; as SVG
inside a page its ink is replaced by the page's text colour. The same data always give the same bytes.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

DPI = 100
PLATE = "#15181d"
PLATE_TEXT = "#d5dae1"
PLATE_FAINT = "#8d96a3"
INK = "#1a1c1e"
PALETTE = ("#3a8ed0", "#d97a1e", "#3aa37a", "#b05cc6", "#c9483f", "#8a8f2a", "#5b6fd6", "#9a6a4a")
LOOK = {
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "sepvox",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def colour(number: int) -> str:
    """The colour of the so-and-so-many-th thing in a chart."""
    return PALETTE[number % len(PALETTE)]


@contextmanager
def look() -> Iterator[None]:
    """The settings of matplotlib under which figures are drawn and saved."""
    with mpl.rc_context(LOOK):
        yield


def plate(width: float, height: float) -> Any:
    """An empty figure of pictures, size in pixels."""
    return Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PLATE)


def place(figure: Any, left: float, top: float, width: float, height: float) -> Any:
    """Axes without ticks or frame on a plate, in pixels from its upper left corner."""
    full_width, full_height = (side * DPI for side in figure.get_size_inches())
    bottom = full_height - top - height
    axes = figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))
    axes.set_axis_off()
    return axes


def write(figure: Any, left: float, top: float, text: str, **options: Any) -> None:
    """Text on a plate, in pixels from its upper left corner."""
    full_width, full_height = (side * DPI for side in figure.get_size_inches())
    figure.text(left / full_width, 1 - top / full_height, text, **({"color": PLATE_TEXT, "va": "top"} | options))


def png(figure: Any) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Any) -> bytes:
    """The figure as an SVG file, text as text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def inline_svg(figure: Any, name: str) -> str:
    """The figure as an SVG element for an HTML page, in the page's text colour; `name` keeps its ids from others'."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="([\d.]+)pt"', rf'\1 role="img" aria-label="{name}"', text, count=1)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", text)
    return text.replace(INK, "currentColor")

"""Colours and SVG of all figures.

Figures are drawn in the light colours; as they enter the page each becomes a CSS variable, so
that text and figures change theme together. Any colour of text has a contrast of at least 4.5
on both backgrounds (WCAG 2.1, level AA), and no two of them look alike to those who do not see
red, green or blue.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

LIGHT = {
    "page": "#fefefe",
    "panel": "#f4f5f7",
    "rule": "#d3d7de",
    "ink": "#1b1f26",
    "muted": "#565e6b",
    "robust": "#155ca2",
    "clean": "#0e6f4f",
    "attacked": "#a8430c",
    "generated": "#6a1f7a",
}

DARK = {
    "page": "#14171c",
    "panel": "#1d2128",
    "rule": "#3a414c",
    "ink": "#e8eaed",
    "muted": "#a3abb8",
    "robust": "#79b4f2",
    "clean": "#5fc79c",
    "attacked": "#f09a63",
    "generated": "#e36fd0",
}

# Shapes as well as colours, so that no information depends on colour alone.
MARKERS = {"clean": "s", "robust": "o"}


def as_css(theme: dict[str, str]) -> str:
    """Return the colours as declarations of CSS variables."""
    return " ".join(f"--{name}: {colour};" for name, colour in theme.items())


def with_variables(svg: str) -> str:
    """Return a figure whose colours follow the theme of the page."""
    for name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg


def standalone(svg: str) -> str:
    """Return a figure of the page as an SVG file: light colours, its own name space and font."""
    for name, colour in LIGHT.items():
        svg = svg.replace(f"var(--{name})", colour)
    head = '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" '
    return svg.replace("<svg ", head, 1)


STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": LIGHT["muted"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "svg.fonttype": "none",
}
_POINTS_PER_INCH = 72
_FONT = re.compile(r"font(?:-family)?: ?[^;\"]*(?=[;\"])")
_OVERHEAD = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", re.DOTALL)
_SIZE = re.compile(r"([0-9.]+)px")


@contextmanager
def drawing(
    width: float, height: float, columns: Sequence[float] = (1,)
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure of `width` × `height` inches in the page's style.

    Args:
        columns: the relative width of each axes, from left to right.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, len(columns), squeeze=False, width_ratios=columns)[0]
        yield figure, list(axes)


def percent_axis(axes: Axes, which: str = "y") -> None:
    """Label an axis of fractions in percent, with decimals where ticks lie closer than that."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a chart, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def as_svg(figure: Figure, title: str) -> str:
    """Return a figure as an `<svg>` element that a screen reader calls `title`."""
    buffer = StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = _FONT.sub(_size_only, _OVERHEAD.sub("", svg))
    width, height = (size * _POINTS_PER_INCH for size in figure.get_size_inches())
    head = (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    svg = re.sub(r"<svg[^>]*>", head, svg, count=1)
    return with_variables(_without_unused_ids(svg))


def _size_only(match: re.Match[str]) -> str:
    """Keep the size of a font; the family is that of the page."""
    size = _SIZE.search(match.group(0))
    return f"font-size: {size.group(1)}px" if size else ""


def _without_unused_ids(svg: str) -> str:
    """Drop ids that nothing refers to: several figures on a page would share them."""
    used = set(re.findall(r"#([\w-]+)", svg))
    return re.sub(
        r' id="([^"]+)"', lambda match: match.group(0) if match.group(1) in used else "", svg
    )

"""Colours of the page and of its figures, in a light and a dark theme.

Figures are drawn in the light colours; as they enter the page each becomes a CSS variable, so
that text and figures change theme together. Any colour of text has a contrast of at least 4.5
on both backgrounds (WCAG 2.1, level AA), and no two of them look alike to those who do not see
red, green or blue.
"""

BACKGROUNDS = ("page", "panel")

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

# Shapes beside colours: nothing is told by colour alone.
MARKERS = {"clean": "s", "robust": "o"}


def as_css(theme: dict[str, str]) -> str:
    """Return the colours as declarations of CSS variables."""
    return " ".join(f"--{name}: {colour};" for name, colour in theme.items())


def with_variables(svg: str) -> str:
    """Return a figure whose colours follow the theme of the page."""
    for name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg

"""Text can be read in both themes (WCAG 2.1, success criterion 1.4.3), colours told apart."""

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest

from pyrobust.reporting.figure_style import DARK, LIGHT, with_variables

TEXT = ("ink", "muted", "robust", "clean", "attacked", "generated")

# How those without one kind of cone see linear RGB (Machado et al. 2009, severity 1).
VISION = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                 [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.array([[0.9505], [1.0], [1.089]])


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour))


def lab(rgb: np.ndarray) -> np.ndarray:
    """Return L*, a*, b* of linear RGB: equal distances look equally far."""
    xyz = XYZ @ rgb.clip(0, 1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_black_on_white_has_the_greatest_contrast() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("background", ["page", "panel"])
@pytest.mark.parametrize("name", TEXT)
def test_text_has_a_contrast_of_at_least_four_and_a_half(
    theme: dict[str, str], background: str, name: str
) -> None:
    assert contrast(theme[name], theme[background]) >= 4.5


def test_lab_has_white_at_a_hundred_and_no_hue_in_grey() -> None:
    assert lab(linear("#ffffff")) == pytest.approx([100, 0, 0], abs=0.1)
    assert lab(linear("#777777"))[1:] == pytest.approx([0, 0], abs=0.1)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_colours_are_far_apart_to_everybody(theme: dict[str, str], vision: str) -> None:
    seen = {name: lab(np.array(VISION[vision]) @ linear(theme[name])) for name in TEXT}
    distance = {
        pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in combinations(TEXT, 2)
    }
    # A distance of 2.3 is just seen.
    assert min(distance.values()) > 11, min(distance, key=lambda pair: distance[pair])


@pytest.mark.parametrize("sheet", ["page.css", "overview.css"])
def test_style_sheets_take_their_text_colours_from_the_palette(sheet: str) -> None:
    css = (files("pyrobust.reporting") / "templates" / sheet).read_text()
    text = re.findall(r"(?<![\w-])color: ([^;]+);", css)
    assert text
    allowed = {f"var(--{name})" for name in (*TEXT, "tile")}
    assert set(text) <= allowed


def test_both_themes_name_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()


def test_figures_take_the_colours_of_the_theme() -> None:
    assert with_variables(f"stroke: {LIGHT['robust']}") == "stroke: var(--robust)"

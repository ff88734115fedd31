"""Text can be read in both themes (WCAG 2.1, success criterion 1.4.3)."""

import pytest

from pyrobust.reporting.palette import BACKGROUNDS, DARK, LIGHT, with_variables

TEXT = ("ink", "muted", "robust", "clean", "attacked", "generated")


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_black_on_white_has_the_greatest_contrast() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("name", TEXT)
def test_text_has_a_contrast_of_at_least_four_and_a_half(
    theme: dict[str, str], background: str, name: str
) -> None:
    assert contrast(theme[name], theme[background]) >= 4.5


def test_both_themes_name_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()


def test_figures_take_the_colours_of_the_theme() -> None:
    assert with_variables(f"stroke: {LIGHT['robust']}") == "stroke: var(--robust)"

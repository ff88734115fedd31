"""Curves of a training, from its log."""

from typing import Any

import pytest

from pyrobust.reporting.training_curves import Log, generator_curves


@pytest.mark.parametrize(("skipped", "drawn"), [((0.0, 0.0), False), ((0.0, 0.5), True)])
def test_skipped_updates_are_drawn_only_where_there_are_some(
    skipped: tuple[float, float], drawn: bool
) -> None:
    lines: list[dict[str, Any]] = [
        {"step": step, "loss": 1.0, "skipped": share} for step, share in enumerate(skipped)
    ]
    svg = generator_curves(Log(lines, []))
    assert ">loss<" in svg
    assert (">skipped<" in svg) == drawn

"""The page of one evaluation, without an experiment around it, and its chart of stages."""

from collections.abc import Mapping
from typing import Any

from pyrobust import __version__
from pyrobust.evaluation.describe import attack_words, headline
from pyrobust.reporting.accuracies import interval_of
from pyrobust.reporting.figure_style import LIGHT, as_svg, drawing, percent_axis
from pyrobust.reporting.page import css, environment
from pyrobust.reporting.wording import stage_name


def evaluation_page(summary: Mapping[str, Any]) -> str:
    """Return one HTML page about what `evaluation.json` holds."""
    page: str = (
        environment()
        .get_template("evaluation.html.j2")
        .render(
            css=css(),
            summary=summary,
            headline=headline(summary),
            attack=attack_words(summary),
            chart=stage_chart(summary),
            rows=_rows(summary),
            trusted=summary.get("trusted", True),
            version=__version__,
        )
    )
    return page


def stage_chart(summary: Mapping[str, Any]) -> str:
    """Draw the accuracy that each attack leaves, with 95% intervals, as SVG."""
    rows = _rows(summary)
    values = [row["accuracy"] for row in rows]
    low, high = zip(*(row["interval"] for row in rows), strict=True)
    with drawing(4.6, 0.7 + 0.34 * len(rows)) as (figure, (axes,)):
        places = range(len(rows))
        axes.hlines(places, low, high, colors=LIGHT["robust"], lw=2.2)
        axes.plot(values, places, "o", color=LIGHT["robust"], markersize=4.5)
        axes.set_yticks(places, [row["name"] for row in rows])
        axes.invert_yaxis()
        percent_axis(axes, "x")
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("accuracy left, 95% interval")
        return as_svg(figure, f"Accuracy after each attack: {headline(summary)}")


def _rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    count = summary["num_images"]
    stages = [("clean", "no attack", summary["clean_accuracy"])]
    cascades = [("", summary["stages"])]
    if summary["autoattack"]:
        cascades.append(("AutoAttack: ", summary["autoattack"]["stages"]))
    for prefix, found in cascades:
        stages += [
            (prefix + stage_name(stage["name"]), stage["attack"], stage["robust_accuracy"])
            for stage in found
        ]
    return [
        {
            "name": name,
            "attack": attack,
            "accuracy": accuracy,
            "interval": interval_of(accuracy, count),
        }
        for name, attack, accuracy in stages
    ]

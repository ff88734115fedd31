"""The page of one evaluation, without an experiment around it, and its chart of stages."""

from collections.abc import Mapping
from typing import Any

from pyrobust.evaluation.describe import anytime_lines, attack_words, headline, interval_of_result
from pyrobust.reporting.figure_style import LIGHT, as_svg, drawing, percent_axis
from pyrobust.reporting.page import render
from pyrobust.reporting.wording import stage_name


def evaluation_page(summary: Mapping[str, Any]) -> str:
    """Return one HTML page about what `evaluation.json` holds."""
    return render(
        "evaluation.html.j2",
        summary=summary,
        headline=headline(summary),
        attack=attack_words(summary),
        chart=stage_chart(summary),
        rows=_rows(summary),
        anytime=[*anytime_lines(summary)] if "anytime" in summary else [],
        is_sample=summary["num_images"] < summary.get("anytime", {"population": 0})["population"],
        anytime_chart=bound_chart(summary) if "anytime" in summary else None,
        trusted=summary.get("trusted", True),
    )


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
        axes.set_xlabel("accuracy, 95% interval")
        return as_svg(figure, f"Accuracy after each attack: {headline(summary)}")


def bound_chart(summary: Mapping[str, Any]) -> str:
    """Draw the bound on robust accuracy over the time of the attack, as SVG."""
    history = summary["anytime"]["history"]
    minutes = [moment["seconds"] / 60 for moment in history]
    low, high = zip(*(moment["interval"] for moment in history), strict=True)
    with drawing(4.6, 2.6) as (figure, (axes,)):
        axes.fill_between(minutes, low, high, color=LIGHT["robust"], alpha=0.2, lw=0)
        values = [moment["robust_accuracy"] for moment in history]
        axes.plot(minutes, values, "o-", color=LIGHT["robust"], markersize=3)
        axes.set_ylim(-0.02, 1.02)
        percent_axis(axes)
        axes.set_xlabel("minutes of attack; the band is valid at any stop")
        return as_svg(figure, "Robust accuracy of the images attacked so far, over time")


def _rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
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
            "interval": interval_of_result(summary, accuracy),
        }
        for name, attack, accuracy in stages
    ]

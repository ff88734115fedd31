"""The page and the chart of `pyrobust threats`."""

from collections.abc import Mapping
from typing import Any

from pyrobust.evaluation.describe_threats import row_words
from pyrobust.reporting.accuracies import interval_of
from pyrobust.reporting.figure_style import LIGHT, as_svg, drawing, percent_axis
from pyrobust.reporting.page import render
from pyrobust.reporting.wording import norm_name

_UNIONS = {"all": "all together", "balls": "all balls"}
_BALLS = ("linf", "l2", "l1")


def threats_page(result: Mapping[str, Any]) -> str:
    """Return one HTML page about what `threats.json` holds."""
    return render("threats.html.j2", result=result, chart=threats_chart(result), rows=_rows(result))


def threats_chart(result: Mapping[str, Any]) -> str:
    """Draw the accuracy under each threat and under unions, with 95% intervals, as SVG."""
    rows = _rows(result)
    colours = {"clean": LIGHT["clean"], "threat": LIGHT["robust"], "union": LIGHT["attacked"]}
    markers = {"clean": "s", "threat": "o", "union": "D"}
    with drawing(4.6, 0.7 + 0.34 * len(rows)) as (figure, (axes,)):
        for place, row in enumerate(rows):
            colour = colours[row["kind"]]
            low, high = row["interval"]
            axes.hlines(place, low, high, colors=colour, lw=2.2)
            axes.plot(row["accuracy"], place, markers[row["kind"]], color=colour, markersize=4.5)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.invert_yaxis()
        percent_axis(axes, "x")
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("images that no attack breaks, 95% interval")
        return as_svg(figure, f"Accuracy under each threat on {result['dataset']}")


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    clean, count = result["clean_accuracy"], result["num_images"]
    rows = [
        {
            "kind": "clean",
            "name": "clean",
            "threat": "no attack",
            "accuracy": clean,
            "interval": interval_of(clean, count),
        }
    ]
    for kind, found in (("threat", result["threats"]), ("union", result["unions"])):
        for row in found:
            name = row["name"]
            ball = kind == "threat" and name in _BALLS
            rows.append(
                {
                    "kind": kind,
                    "name": norm_name(name) if ball else _UNIONS.get(name, name),
                    "threat": row_words(row),
                    "accuracy": row["robust_accuracy"],
                    "interval": row["interval"],
                }
            )
    return rows

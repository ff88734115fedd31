"""The page and the chart of `pyrobust certify`."""

from collections.abc import Mapping
from typing import Any

from pyrobust.evaluation.describe_certificates import STATUSES
from pyrobust.reporting.charts import draw_shares
from pyrobust.reporting.figure_style import LIGHT, as_svg, drawing
from pyrobust.reporting.page import render
from pyrobust.reporting.wording import norm_name

_COLOURS = {
    "certified": LIGHT["clean"],
    "undecided": LIGHT["muted"],
    "broken": LIGHT["attacked"],
}


def certificates_page(result: Mapping[str, Any]) -> str:
    """Return one HTML page about what `certificates.json` holds."""
    return render(
        "certificates.html.j2",
        result=result,
        norm=norm_name(result["norm"]),
        statuses=STATUSES,
        chart=certificates_chart(result),
    )


def certificates_chart(result: Mapping[str, Any]) -> str:
    """Draw the shares of certified, undecided and broken images as one bar, as SVG."""
    with drawing(4.6, 1.3) as (figure, (axes,)):
        draw_shares(axes, 0, {name: result[name]["share"] for name in STATUSES}, _COLOURS)
        axes.set_yticks([])
        figure.legend(loc="outside upper left", ncols=3)
        title = f"Certified, undecided and broken images: {result['norm']} {result['epsilon']}"
        return as_svg(figure, title)

"""The page and the chart of `pyrobust certify`."""

from collections.abc import Mapping
from typing import Any

from pyrobust import __version__
from pyrobust.evaluation.describe_certificates import STATUSES
from pyrobust.reporting.figure_style import LIGHT, as_svg, drawing, percent_axis, with_variables
from pyrobust.reporting.page import css, environment
from pyrobust.reporting.wording import norm_name

_COLOURS = {"certified": "clean", "undecided": "muted", "broken": "attacked"}


def certificates_page(result: Mapping[str, Any]) -> str:
    """Return one HTML page about what `certificates.json` holds."""
    page: str = (
        environment()
        .get_template("certificates.html.j2")
        .render(
            css=css(),
            result=result,
            norm=norm_name(result["norm"]),
            statuses=STATUSES,
            chart=with_variables(certificates_chart(result)),
            version=__version__,
        )
    )
    return page


def certificates_chart(result: Mapping[str, Any]) -> str:
    """Draw the shares of certified, undecided and broken images as one bar, as SVG."""
    with drawing(4.6, 1.3) as (figure, (axes,)):
        left = 0.0
        for name in STATUSES:
            share = result[name]["share"]
            axes.barh(0, share, left=left, color=LIGHT[_COLOURS[name]], height=0.7, label=name)
            if share > 0.08:
                axes.text(
                    left + share / 2,
                    0,
                    f"{share:.0%}",
                    ha="center",
                    va="center",
                    color=LIGHT["page"],
                )
            left += share
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set_xlim(0, 1)
        percent_axis(axes, "x")
        figure.legend(loc="outside upper left", ncols=3)
        title = f"Certified, undecided and broken images: {result['norm']} {result['epsilon']}"
        return as_svg(figure, title)

"""Loss landscapes around test images, as in Figure 11 of the paper."""

from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pyrobust.reporting.downloads import data_uri

_INCHES = 3.4
_DPI = 180


def landscape(image: dict[str, Any], norm: str, epsilon: float) -> str:
    """Draw the margin over (u, v) as a surface, and return it as the address of a PNG.

    Args:
        image: `u` and `v`, the magnitudes of the perturbation along the worst attack and along
            random signs, and `margin`, a grid with rows along v (below 0: a misclassification).
        norm, epsilon: of the ball, which is drawn on the floor.
    """
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(_INCHES, _INCHES * 0.88))
        axes: Any = figure.add_axes((0.05, 0.02, 0.9, 0.98), projection="3d")
        draw_surface(axes, image, norm, epsilon)
        buffer = BytesIO()
        # Without its own metadata, the file is a function of the margins alone.
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return data_uri(buffer.getvalue(), "image/png")


def draw_surface(axes: Any, image: dict[str, Any], norm: str, epsilon: float) -> None:
    """Draw the margin as a surface on 3-D axes; arguments as those of `landscape`."""
    u, v = np.meshgrid(image["u"], image["v"])
    margin = np.asarray(image["margin"])
    lowest, highest = float(min(margin.min(), -1e-6)), float(max(margin.max(), 1e-6))
    axes.plot_surface(
        u,
        v,
        margin,
        cmap="RdBu",
        norm=TwoSlopeNorm(0, lowest, highest),
        rcount=40,
        ccount=40,
        linewidth=0.15,
        edgecolor="#00000030",
    )
    floor = lowest - 0.15 * (highest - lowest)
    axes.plot(*_ball(norm, epsilon), floor, color="#1b1f26", lw=1.2)
    axes.set_zlim(floor, highest)
    axes.set_xlabel("u", labelpad=-4)
    axes.set_ylabel("v", labelpad=-4)
    axes.tick_params(pad=-2, labelsize=7)
    axes.tick_params(axis="z", pad=1)
    axes.view_init(elev=28, azim=-128)


def _ball(norm: str, epsilon: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the outline of the ball on the (u, v) plane.

    It is the diamond |u| + |v| = epsilon of Figure 11 for linf, where both directions are largest
    at the same pixels, and a circle for l2, where they are nearly orthogonal.
    """
    angles = np.linspace(0, 2 * np.pi, 5 if norm == "linf" else 65)
    return epsilon * np.cos(angles), epsilon * np.sin(angles)

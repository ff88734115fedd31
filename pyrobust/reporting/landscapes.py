"""Loss landscapes around test images, as in Figure 11 of the paper."""

from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from pyrobust.reporting.pictures import data_uri

_INCHES = 3.4
_DPI = 180


def landscape(image: dict[str, Any], epsilon: float) -> str:
    """Draw the margin over (u, v) as a surface, and return it as the address of a PNG.

    Args:
        image: `u` and `v`, the perturbation along the worst attack and along a random sign
            direction, and `margin`, a grid with rows along v (a misclassification is below 0).
        epsilon: radius, drawn as the paper draws it: the diamond |u| + |v| <= epsilon.
    """
    u, v = np.meshgrid(image["u"], image["v"])
    margin = np.asarray(image["margin"])
    lowest, highest = float(min(margin.min(), -1e-6)), float(max(margin.max(), 1e-6))
    with mpl.rc_context({"font.size": 8}):
        figure = Figure(figsize=(_INCHES, _INCHES * 0.88))
        axes: Any = figure.add_axes((0.0, 0.02, 0.93, 0.98), projection="3d")
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
        corners = epsilon * np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [1, 0]])
        floor = lowest - 0.15 * (highest - lowest)
        axes.plot(corners[:, 0], corners[:, 1], floor, color="#1b1f26", lw=1.2)
        axes.set_zlim(floor, highest)
        axes.set_xlabel("u", labelpad=-4)
        axes.set_ylabel("v", labelpad=-4)
        axes.set_zlabel("margin", labelpad=-4)
        axes.tick_params(pad=-2, labelsize=7)
        axes.view_init(elev=28, azim=-128)
        buffer = BytesIO()
        # Without its own metadata, the file is a function of the margins alone.
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return data_uri(buffer.getvalue())

"""Which images no perturbation of a set breaks."""

from typing import Literal

import torch
from torch import Tensor

from pyrobust.attacks.threat_model import ThreatModel
from pyrobust.certificates.crown import Crown
from pyrobust.certificates.graph import Graph
from pyrobust.certificates.interval import interval_bounds
from pyrobust.certificates.region import Region

BoundMethod = Literal["ibp", "crown_ibp", "crown"]

# A certificate is about the network in real arithmetic. So that the network in float32 classifies
# alike, a margin must exceed an empirical allowance: this share of the largest logit, or this
# multiple of the largest difference that was measured on images, whichever is more. A margin is a
# difference of two logits, and other images may round worse than the measured ones.
FLOAT32_MARGIN = 1e-5
FLOAT32_DIFFERENCES = 10


def certified_margins(
    graph: Graph,
    x: Tensor,
    labels: Tensor,
    threat: ThreatModel,
    method: BoundMethod,
    difference: float = 0.0,
) -> Tensor:
    """Return a lower bound of z_y - max over j ≠ y of z_j over each perturbation set, (N,) float64.

    Above 0, no image of the set is misclassified in real arithmetic. For the network in float32,
    an allowance is subtracted from each bound: the larger one of `FLOAT32_MARGIN` of the largest
    possible logit and `FLOAT32_DIFFERENCES` times `difference`. It is empirical, not a bound. The
    set includes the tolerance that attacks are judged with.

    Args:
        graph: in float64.
        x: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        method: ibp (Gowal et al. 2018), crown (Zhang et al. 2018), or crown_ibp: linear bounds
            with lines from intervals (Zhang et al. 2020).
        difference: largest one between the graph's logits and the network's, as measured.
    """
    region = Region(x.double(), threat.norm, threat.largest_distance)
    with torch.no_grad():
        if method == "ibp":
            logits = interval_bounds(graph, region.box)
            others = logits.upper.scatter(1, labels[:, None], -torch.inf)
            least = logits.lower.gather(1, labels[:, None])[:, 0] - others.amax(1)
        else:
            crown = Crown(graph, region, refine=method == "crown")
            logits, least = crown.logits, crown.margins(labels).amin(1)
        largest = torch.maximum(logits.lower.abs(), logits.upper.abs()).amax(1).clamp_min(1)
    return least - (FLOAT32_MARGIN * largest).clamp_min(FLOAT32_DIFFERENCES * difference)

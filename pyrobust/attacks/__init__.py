"""Attacks on a logits function: pure functions of images, labels, settings and seed."""

from pyrobust.attacks.apgd import ApgdSettings, apgd
from pyrobust.attacks.fab import FabSettings, fab
from pyrobust.attacks.multitargeted import MultitargetedSettings, multitargeted
from pyrobust.attacks.network_passes import FixedPasses, LogitsFn, packed_passes
from pyrobust.attacks.pgd import AscentSettings, pgd, pgd40
from pyrobust.attacks.square import SquareSettings, square
from pyrobust.attacks.threat_model import ThreatModel

__all__ = [
    "ApgdSettings",
    "AscentSettings",
    "FabSettings",
    "FixedPasses",
    "LogitsFn",
    "MultitargetedSettings",
    "SquareSettings",
    "ThreatModel",
    "apgd",
    "fab",
    "multitargeted",
    "packed_passes",
    "pgd",
    "pgd40",
    "square",
]

"""How names and numbers of the record read in a sentence."""

from collections.abc import Mapping
from typing import Any

from pyrobust.config.attacks import SINGLE_ATTACKS
from pyrobust.config.generator_types import TYPES

_NORMS = {"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1"}

# From this many images on, the second decimal of a percentage is more than one image.
_MANY_IMAGES = 10_000


def stage_name(name: str) -> str:
    """Return the published name of an attack stage, such as APGD-CE for apgd_ce."""
    attack = SINGLE_ATTACKS.get(name.replace("-", "_"))
    return attack.title if attack else name


def cascade_name(cascade: str) -> str:
    """Return the attack that a robust accuracy is under: that of `aa_mt`, or `worst` of both."""
    return "AA+MT" if cascade == "aa_mt" else "the lower of AA+MT and AutoAttack"


def norm_name(norm: str) -> str:
    """Return the norm's symbol."""
    return _NORMS[norm]


def generator_kind(settings: Mapping[str, Any]) -> str:
    """Return the kind of model that made the images; for imported ones, their name."""
    kind: str = settings["name" if settings["type"] == "imported" else "type"]
    return kind


def generator_name(kind: str) -> str:
    """Return the name of a kind of generative model."""
    return TYPES[kind].title if kind in TYPES else kind


def architecture_name(architecture: str) -> str:
    """Return the name of an architecture as papers print it, such as WRN-28-10."""
    return architecture.upper().replace("RESNET", "ResNet")


def amount(count: int) -> str:
    """Return a number of samples, in millions where it is whole millions."""
    return f"{count // 1_000_000}M" if count and count % 1_000_000 == 0 else f"{count:,}"


def percent(fraction: float, num_images: int = 0) -> str:
    """Return a fraction as percent, with the decimals that `num_images` support."""
    return f"{fraction:.{_decimals(num_images)}%}"


def setting(value: object) -> str:
    """Return the value of a setting in words; None is a number of images without a limit."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "all" if value is None else str(value)


def interval(bounds: list[float], num_images: int = 0) -> str:
    """Return an interval of a fraction in percent, as in "57.1 to 70.4%"."""
    decimals = _decimals(num_images)
    low, high = (f"{100 * bound:.{decimals}f}" for bound in bounds)
    return f"{low} to {high}%"


def points(difference: float, num_images: int = 0) -> str:
    """Return a difference of fractions in percentage points, with its sign."""
    return f"{100 * difference:+.{_decimals(num_images)}f}".replace("-", "−")


def unsigned_points(difference: float, num_images: int = 0) -> str:
    """Return the size of a difference of fractions in percentage points."""
    return f"{100 * abs(difference):.{_decimals(num_images)}f}"


def points_interval(bounds: list[float], num_images: int = 0) -> str:
    """Return an interval of a difference in percentage points, as in "[+6.3, +25.7]"."""
    low, high = (points(bound, num_images) for bound in bounds)
    return f"[{low}, {high}]"


def objective_name(objective: str) -> str:
    """Return the name of a training objective; one of the user's own is called as it is."""
    names = {
        "trades": "TRADES",
        "adversarial_training": "adversarial training",
        "mart": "MART",
        "ibp": "interval bound propagation",
    }
    return names.get(objective, objective)


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it, as in "1 min 35 s" or "7.9 h"."""
    if seconds < 0.1:
        return "under 0.1 s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{seconds / 3600:.1f} h"


def _decimals(num_images: int) -> int:
    return 2 if num_images >= _MANY_IMAGES else 1

"""Where each stage writes its index file, as the rules declare it.

`<resources>` and `<results>` are pathvars of Snakemake; names in braces are wildcards.
"""

import re
from collections.abc import Mapping

DATASET = "<resources>/datasets/{dataset}/dataset.json"
LABELLER = "<results>/labellers/{dataset}/{labeller}/labeller.json"
GENERATOR = "<results>/generators/{dataset}/{generator}/generator.json"

_SAMPLES = "<results>/samples/{dataset}/{generator}"
PART = _SAMPLES + "/parts/{part}/manifest.json"
LABELS = _SAMPLES + "/labels/{labeller}/{part}/labels.json"
FEATURES_OF_PART = _SAMPLES + "/features/{labeller}/{part}/features.json"
DISTANCES = _SAMPLES + "/distances/{part}/distances.json"
SELECTED = _SAMPLES + "/selected/{labeller}/{selection}/{num_samples}/manifest.json"

_ANALYSIS = (
    "<results>/analysis/{dataset}/{generator}/{labeller}/{selection}/{num_samples}/{analysis}"
)
ORIGINAL_FEATURES = "<results>/features/{dataset}/{labeller}/{analysis}/{split}/features.json"
FEATURES = _ANALYSIS + "/features/features.json"
NEIGHBOURS = _ANALYSIS + "/neighbours.json"
QUALITY = _ANALYSIS + "/quality.json"

TRAINING = "<results>/train/{experiment}/{run}/training.json"
CHOICE = "<results>/train/{experiment}/choice.json"

EVALUATION = "<results>/evaluate/{experiment}/{run}/evaluation.json"
EVALUATION_AGAIN = "<results>/evaluate/{experiment}/again/{evaluation}/{run}/evaluation.json"
EVALUATION_ON_SAMPLES = (
    "<results>/evaluate/{experiment}/on/{dataset}/{generator}/{labeller}/{selection}"
    "/{num_samples}/{evaluation}/{run}/evaluation.json"
)
LABELLER_EVALUATION = (
    "<results>/evaluate/labellers/{dataset}/{labeller}/{norm}_{radius}/{evaluation}/evaluation.json"
)
LANDSCAPE = "<results>/landscape/{experiment}/landscape.json"

_CONSTRAINED = re.compile(r"\{(\w+),[^{}]*\}")


def fill(path: str, *values: Mapping[str, object], **more: object) -> str:
    """Return `path` with its wildcards replaced; the last value given for one wins.

    A wildcard may have a constraint behind a comma, as Snakemake writes it in rules of modules.

    Raises:
        KeyError: a wildcard has no value.
    """
    known: dict[str, object] = {}
    for mapping in (*values, more):
        known |= dict(mapping.items())
    return _CONSTRAINED.sub(r"{\1}", path).format_map(known)


def spell_radius(epsilon: str) -> str:
    """Return a radius as paths spell it: 8-255 for 8/255."""
    return epsilon.replace("/", "-")


def read_radius(radius: str) -> str:
    """Return the radius that a path spells."""
    return radius.replace("-", "/")

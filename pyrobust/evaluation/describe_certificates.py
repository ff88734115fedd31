"""What `pyrobust certify` found, in lines that a person can read."""

from collections.abc import Iterator, Mapping
from typing import Any

# The file that `pyrobust certify` writes last.
RESULT = "certificates.json"
STATUSES = ("certified", "undecided", "broken")


def describe_certificates(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was certified, and the share of images of each status, a line each."""
    yield (
        f"clean {100 * result['clean_accuracy']:.1f} %: {result['norm']} {result['epsilon']}, "
        f"{result['num_images']:,} images of {result['dataset']} ({result['split']}), method "
        f"{result['settings']['method']}"
    )
    for name in STATUSES:
        low, high = result[name]["interval"]
        yield f"{name} {100 * result[name]['share']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"

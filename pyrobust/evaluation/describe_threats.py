"""What `pyrobust threats` found, in lines that a person can read."""

from collections.abc import Iterator, Mapping
from typing import Any

# The file that `pyrobust threats` writes last.
RESULT = "threats.json"


def describe_threats(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the accuracy without an attack, under each threat and under unions, a line each."""
    count = f"{result['num_images']:,} images of {result['dataset']} ({result['split']})"
    yield f"clean {100 * result['clean_accuracy']:.1f} %: {count}"
    for row in (*result["threats"], *result["unions"]):
        low, high = row["interval"]
        yield (
            f"{row['name']} {100 * row['robust_accuracy']:.1f} % "
            f"[{100 * low:.1f}, {100 * high:.1f}]: {row_words(row)}"
        )
    for check in result["checks"]:
        if check["passed"] is False:
            yield f"check {check['name']} failed: {check['seen']}"
    for row in result["threats"]:
        if row["refused"]:
            yield f"{row['refused']} points of {row['name']} were refused: they left their set"


def row_words(row: Mapping[str, Any]) -> str:
    """Return what a row of the table is about."""
    if "threat" in row:
        return str(row["threat"])
    return f"robust under all of {', '.join(row['threats'])}"

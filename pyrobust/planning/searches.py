"""The counted work of searches for nearest images: kind of work → units."""

import math
from collections.abc import Sequence

from pyrobust.config.analysis import AnalysisSettings
from pyrobust.planning import work

# Bytes that `pyrobust distances` holds unless told otherwise.
_DISTANCES_MEMORY = 2_000_000_000

# FAISS's distances, which the memory of a search holds beside the points.
_FAISS_BYTES = 4 * 4096 * 1024


def point_blocks(points: int, values: int, memory_bytes: int) -> int:
    """Return the blocks of points that an exact search holds one after another."""
    block = int(0.7 * (memory_bytes - _FAISS_BYTES)) // (16 * values + 128)
    return math.ceil(points / max(1024, block))


def visits(queries: int, others: Sequence[int], values: int, memory_bytes: int) -> int:
    """Return the values of all queries, once for each block of each of the other sets."""
    blocks = sum(point_blocks(points, values, memory_bytes) for points in others)
    return values * queries * blocks


def pixel_distances(samples: int, jobs: int, originals: int, pixels: int) -> dict[str, float]:
    """Return the work of `jobs` that compare samples with original images and their mirror images.

    That is the most: not every data set is mirrored. Each job prepares the points again.
    """
    points = 2 * originals
    return {
        "search": 2.0 * pixels * samples * points,
        "pixel_visits": visits(samples, [points], pixels, _DISTANCES_MEMORY),
        "points": jobs * points * pixels,
    }


def neighbours(
    sizes: Sequence[int], components: int, settings: AnalysisSettings, memory_bytes: int
) -> dict[str, float]:
    """Return the work of Algorithm 1 on projections of training, test and own images.

    Args:
        sizes: images of the three sets.
    """
    train, test, own = sizes
    pairs, flops = own * sum(sizes), 2.0 * components
    reference = 2 * train * test
    if not settings.approximate:
        met = visits(own, sizes, components, memory_bytes)
        return {"search": flops * (pairs + reference), "visits": met}
    # The reference and a check of some samples are exact all the same.
    exact = reference + work.NUM_CHECKED * sum(sizes)
    listed = sum(
        work.inverted_list_pairs(own, size, settings.probes, components, memory_bytes)
        for size in sizes
    )
    return {"search": flops * exact, "inverted_lists": flops * listed}

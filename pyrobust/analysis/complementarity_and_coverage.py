"""Algorithm 1: complementarity and coverage of generated samples (appendix D).

As the text of appendix D says: each sample meets all others, "the set of 30K - 1 images". (Line 7
of the listing would take one more sample away at each step, and line 3 draws the test set from
the training set.)"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pyrobust.analysis.candidates import Neighbours, Proposer
from pyrobust.analysis.exact_search import nearest_neighbours
from pyrobust.analysis.pca import FeatureRows

# In the order that settles ties.
SETS = ("train", "test", "self")
ORIGINAL_SETS = ("train", "test")

# Samples that are compared at a time: there may be 100M.
_BLOCK = 1 << 20


@dataclass(frozen=True)
class SetNeighbours:
    """The nearest image of each generated sample in each of the three sets."""

    by_set: Mapping[str, Neighbours]

    @cached_property
    def closest(self) -> np.ndarray:
        """Which of SETS holds the nearest image of all, (n,) int8; train wins a tie over test,
        and test over self."""
        distances = [self.by_set[name].squared_distance for name in SETS]
        closest = np.empty(len(distances[0]), np.int8)
        for first in range(0, len(closest), _BLOCK):
            some = slice(first, first + _BLOCK)
            closest[some] = np.argmin([distance[some] for distance in distances], axis=0)
        return closest


def find_neighbours(
    train: FeatureRows,
    test: FeatureRows,
    generated: FeatureRows,
    memory_bytes: int,
    proposer: Proposer | None = None,
    rows: np.ndarray | None = None,
    others: Neighbours | None = None,
) -> SetNeighbours:
    """Return the neighbours of generated samples, exactly unless `proposer` overlooks some.

    Args:
        rows: which samples ask, ascending; all where not given.
        others: the nearest other sample of each, if it was searched before.
    """
    asking: FeatureRows = generated
    if rows is None:
        rows = np.arange(generated.shape[0])
    else:
        asking = np.concatenate([generated[row : row + 1] for row in rows.tolist()])
    points = {"train": train, "test": test, "self": generated}

    def search(name: str) -> Neighbours:
        if name == "self" and others is not None:
            return others
        return nearest_neighbours(
            asking,
            points[name],
            memory_bytes,
            own=rows if name == "self" else None,
            proposer=proposer,
            what=what_of(name),
        )

    return SetNeighbours({name: search(name) for name in SETS})


def what_of(name: str) -> str:
    """Return what a search in one of SETS is called in progress lines."""
    return f"generated: nearest in {name}"


def complementarity(closest: np.ndarray) -> dict[str, float]:
    """Return the shares of samples whose nearest image lies in each set (c_s of Algorithm 1)."""
    return {
        name: _share(int(np.count_nonzero(closest == number)), len(closest))
        for number, name in enumerate(SETS)
    }


def coverage(neighbours: Neighbours, set_size: int) -> float:
    """Return the share of a set that is the nearest image of some sample (v_s)."""
    return _share(int(np.count_nonzero(_covered(neighbours, set_size))), set_size)


def _covered(neighbours: Neighbours, set_size: int) -> np.ndarray:
    """Return which images of a set are the nearest of some sample, (set_size,) bool."""
    covered = np.zeros(set_size + 1, bool)
    covered[neighbours.index] = True  # the last place takes -1: nothing was found
    return covered[:-1]


def per_class(
    found: SetNeighbours,
    labels: Mapping[str, np.ndarray],
    class_names: Sequence[str],
) -> dict[str, dict[str, dict[str, float]]]:
    """Return both measures of each class.

    Args:
        labels: of "train", "test" and "self", (n,) integers each.

    Returns:
        class name -> complementarity of the samples of that class, whatever the class of their
        neighbours, and coverage of the original images of that class, by samples of any class.
    """
    covered = {
        name: labels[name][_covered(found.by_set[name], len(labels[name]))]
        for name in ORIGINAL_SETS
    }
    return {
        name: {
            "complementarity": complementarity(found.closest[labels["self"] == number]),
            "coverage": {
                original: _share(
                    int(np.count_nonzero(covered[original] == number)),
                    int(np.count_nonzero(labels[original] == number)),
                )
                for original in ORIGINAL_SETS
            },
        }
        for number, name in enumerate(class_names)
    }


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0

"""Algorithm 1: complementarity and coverage of generated samples (appendix D).

As the text of appendix D says: each sample meets all others, "the set of 30K - 1 images". (Line 7
of the listing would take one more sample away at each step, and line 3 draws the test set from
the training set.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pyrobust.analysis.candidates import Proposer
from pyrobust.analysis.nearest import Neighbours, nearest_neighbours
from pyrobust.analysis.pca import FeatureRows

# In the order that settles ties.
SETS = ("train", "test", "self")
ORIGINAL_SETS = ("train", "test")


@dataclass(frozen=True)
class SetNeighbours:
    """The nearest image of each generated sample in each of the three sets."""

    by_set: Mapping[str, Neighbours]

    @property
    def closest(self) -> np.ndarray:
        """Which of SETS holds the nearest image of all, (n,) int64; train wins a tie over test,
        and test over self."""
        distances = np.stack([self.by_set[name].squared_distance for name in SETS])
        closest: np.ndarray = distances.argmin(axis=0)
        return closest


def find_neighbours(
    train: FeatureRows,
    test: FeatureRows,
    generated: FeatureRows,
    memory_bytes: int,
    proposer: Proposer | None = None,
    rows: np.ndarray | None = None,
) -> SetNeighbours:
    """Return the neighbours of generated samples, exactly unless `proposer` overlooks some.

    Args:
        rows: which samples ask, ascending; all where not given.
    """
    asking: FeatureRows = generated
    if rows is None:
        rows = np.arange(generated.shape[0])
    else:
        asking = np.concatenate([generated[row : row + 1] for row in rows.tolist()])
    points = {"train": train, "test": test, "self": generated}
    return SetNeighbours(
        {
            name: nearest_neighbours(
                asking,
                points[name],
                memory_bytes,
                own=rows if name == "self" else None,
                proposer=proposer,
                what=f"generated: nearest in {name}",
            )
            for name in SETS
        }
    )


def complementarity(closest: np.ndarray) -> dict[str, float]:
    """Return the shares of samples whose nearest image lies in each set (c_s of Algorithm 1)."""
    counts = np.bincount(closest, minlength=len(SETS))
    return {
        name: _share(count, len(closest)) for name, count in zip(SETS, counts.tolist(), strict=True)
    }


def coverage(neighbours: Neighbours, set_size: int) -> float:
    """Return the share of a set that is the nearest image of some sample (v_s)."""
    return _share(np.unique(neighbours.index).size, set_size)


def per_class(
    found: SetNeighbours,
    labels: Mapping[str, np.ndarray],
    class_names: Sequence[str],
) -> dict[str, dict[str, dict[str, float]]]:
    """Return both measures of each class.

    Args:
        labels: of "train", "test" and "self", (n,) int64 each.

    Returns:
        class name -> complementarity of the samples of that class, whatever the class of their
        neighbours, and coverage of the original images of that class, by samples of any class.
    """
    covered = {name: labels[name][np.unique(found.by_set[name].index)] for name in ORIGINAL_SETS}
    return {
        name: {
            "complementarity": complementarity(found.closest[labels["self"] == number]),
            "coverage": {
                original: _share(
                    int(np.sum(covered[original] == number)),
                    int(np.sum(labels[original] == number)),
                )
                for original in ORIGINAL_SETS
            },
        }
        for number, name in enumerate(class_names)
    }


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0

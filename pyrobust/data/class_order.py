"""Whether labels number the classes in the order of the data set."""

import numpy as np

# Images of a class that tell enough.
_ENOUGH = 30


def traded_classes(confusion: np.ndarray) -> dict[int, int]:
    """Return the classes that trade places: class given → class that most of its images show.

    Most images of each must show another of these classes, and each is shown by one. A weak
    classifier, or poor images, mistake classes for one another without such an order.

    Args:
        confusion: (K, K) images of each given class (row) by the class that a classifier sees.
    """
    counts, seen = confusion.sum(axis=1), confusion.argmax(axis=1)
    most = 2 * confusion.max(axis=1) > counts
    moved = np.flatnonzero(most & (counts >= _ENOUGH) & (seen != np.arange(len(confusion))))
    is_order = np.array_equal(np.sort(seen[moved]), moved)
    return dict(zip(moved.tolist(), seen[moved].tolist(), strict=True)) if is_order else {}

"""Choose the labelled samples to keep, however they are divided into parts.

Everything here works on labels and scores alone, indexed by the global id of a sample.
"""

import numpy as np

# Samples that are counted at a time: NumPy counts 64-bit integers, and there are 100M samples.
_BLOCK = 1 << 20


def class_quotas(num_samples: int, num_classes: int) -> np.ndarray:
    """Return how many samples of each class are kept, (K,) int64.

    Classes get num_samples // K each; a remainder goes to the first classes, one each.
    """
    quotas = np.full(num_classes, num_samples // num_classes, np.int64)
    quotas[: num_samples % num_classes] += 1
    return quotas


def class_counts(
    labels: np.ndarray, num_classes: int, eligible: np.ndarray | None = None
) -> np.ndarray:
    """Return how many samples, or how many eligible ones, each class has, (K,) int64."""
    counts = np.zeros(num_classes, np.int64)
    for first in range(0, len(labels), _BLOCK):
        block = labels[first : first + _BLOCK]
        if eligible is not None:
            block = block[eligible[first : first + _BLOCK]]
        counts += np.bincount(block, minlength=num_classes)
    return counts


def first_of_each_class(labels: np.ndarray, eligible: np.ndarray, quotas: np.ndarray) -> np.ndarray:
    """Return the ids of the first eligible samples of each class, ascending.

    The protocol of DDPM and of the Gaussian: sample until every class is full (appendix D).

    Args:
        labels: (N,) classes.
        eligible: (N,) bool.
        quotas: (K,) samples to keep; a class that is short gives all that it has.
    """
    kept = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(quotas.tolist()):
        kept[_members(labels, eligible, label)[:quota]] = True
    return true_ids(kept)


def best_of_each_class(
    labels: np.ndarray, scores: np.ndarray, eligible: np.ndarray, quotas: np.ndarray
) -> np.ndarray:
    """Return the ids of the eligible samples of each class with the best scores, ascending.

    The protocol of BigGAN and VDVAE (appendix D). Of equal scores the smaller id is kept.

    Args:
        scores: (N,) confidences; otherwise as `first_of_each_class`.
    """
    kept = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(quotas.tolist()):
        ids = _members(labels, eligible, label)
        kept[ids[_best(scores[ids], quota)]] = True
    return true_ids(kept)


def _members(labels: np.ndarray, eligible: np.ndarray, label: int) -> np.ndarray:
    """Return the ids of the eligible samples of one class, ascending."""
    members = labels == label
    members &= eligible
    return true_ids(members)


def true_ids(mask: np.ndarray) -> np.ndarray:
    """Return the ids where `mask` is true, ascending, in 4 bytes each as long as those do."""
    ids = np.empty(np.count_nonzero(mask), np.uint32 if len(mask) < 1 << 32 else np.int64)
    done = 0
    for first in range(0, len(mask), _BLOCK):
        found = np.flatnonzero(mask[first : first + _BLOCK])
        ids[done : done + len(found)] = found + first
        done += len(found)
    return ids


def _best(scores: np.ndarray, quota: int) -> np.ndarray:
    """Return a mask of the `quota` best scores; of equal ones the first."""
    if quota >= len(scores):
        return np.ones(len(scores), dtype=bool)
    if quota == 0:
        return np.zeros(len(scores), dtype=bool)
    threshold = np.partition(scores, len(scores) - quota)[len(scores) - quota]
    best: np.ndarray = scores > threshold
    best[np.flatnonzero(scores == threshold)[: quota - best.sum()]] = True
    return best

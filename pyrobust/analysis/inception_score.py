"""Inception score (Salimans et al. 2016), streaming, equal to torch-fidelity's."""

from itertools import pairwise

import numpy as np
from scipy.special import log_softmax

from pyrobust.data.feature_set import FeatureSet

_BLOCK = 8192

# torch-fidelity's seed of the shuffle before splitting.
_SHUFFLE_SEED = 2020


def inception_score(features: FeatureSet, num_splits: int) -> tuple[float, float]:
    """Return mean and standard deviation over splits of exp(E KL(p(y|x) || p(y))).

    Args:
        features: a set with logits; p(y|x) is their softmax.
        num_splits: parts of equal size that the shuffled images are cut into.
    """
    split = _splits(features.count, num_splits)
    sums = np.zeros((num_splits, features.num_logits))  # of p(y|x) over the images of a split
    negative_entropy = np.zeros(num_splits)  # sum of p(y|x) log p(y|x)
    for first in range(0, features.count, _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, features.count))
        log_p = log_softmax(features.logits(rows).astype(np.float64), axis=1)
        p = np.exp(log_p)
        np.add.at(sums, split[rows], p)
        np.add.at(negative_entropy, split[rows], (p * log_p).sum(axis=1))
    counts = np.bincount(split, minlength=num_splits)
    marginal = sums / counts[:, None]
    # 0 log 0 is 0: a class that no image of a split has.
    entropy = (marginal * np.log(np.where(marginal > 0, marginal, 1))).sum(axis=1)
    scores = np.exp(negative_entropy / counts - entropy)
    return float(scores.mean()), float(scores.std())


def _splits(count: int, num_splits: int) -> np.ndarray:
    """Return the split of each image, (count,) uint8 or wider, from torch-fidelity's permutation.

    Needs 9 bytes of memory per image, of which there may be 100M.
    """
    # RandomState and not Generator: its streams are promised never to change.
    order = np.random.RandomState(_SHUFFLE_SEED).permutation(count)
    bounds = [i * count // num_splits for i in range(num_splits + 1)]
    split = np.empty(count, np.min_scalar_type(num_splits - 1))
    for number, (first, last) in enumerate(pairwise(bounds)):
        split[order[first:last]] = number
    return split

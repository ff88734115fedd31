"""Seeded permutations that need no memory: a Feistel network over range(count)."""

from collections.abc import Callable

import numpy as np

_ROUNDS = 8

# Values in [0, 4^width), width, keys -> values.
_Network = Callable[[np.ndarray, int, np.ndarray], np.ndarray]


def permute(index: np.ndarray, count: int, seed: int, stream: int = 0) -> np.ndarray:
    """Return where the permutation of range(count) that `seed` names sends each index.

    Each value is computed by itself, so a part of a permutation of 100M costs that part only,
    and the result depends on no library's random generator.

    Args:
        index: integers in [0, count), any shape.
        stream: distinguishes permutations with the same seed.
    """
    return _walk(_network, index, count, seed, stream)


def unpermute(value: np.ndarray, count: int, seed: int, stream: int = 0) -> np.ndarray:
    """Return the index that `permute` sends to each value: its inverse, at the same cost."""
    return _walk(_inverse_network, value, count, seed, stream)


def _walk(network: _Network, index: np.ndarray, count: int, seed: int, stream: int) -> np.ndarray:
    # Two halves of equal width that together hold at least `count` values.
    width = max(1, (max(count - 1, 1).bit_length() + 1) // 2)
    keys = np.random.SeedSequence([seed, stream]).generate_state(_ROUNDS, np.uint64)
    values = network(np.asarray(index).astype(np.uint64), width, keys)
    # A value outside the range follows its cycle until it is back in the range.
    while (outside := values >= count).any():
        values[outside] = network(values[outside], width, keys)
    return values.astype(np.int64)


def _network(values: np.ndarray, width: int, keys: np.ndarray) -> np.ndarray:
    mask = np.uint64((1 << width) - 1)
    left, right = values >> np.uint64(width), values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << np.uint64(width)) | right


def _inverse_network(values: np.ndarray, width: int, keys: np.ndarray) -> np.ndarray:
    mask = np.uint64((1 << width) - 1)
    left, right = values >> np.uint64(width), values & mask
    for key in keys[::-1]:
        left, right = right ^ (_mix(left ^ key) & mask), left
    return (left << np.uint64(width)) | right


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble 64-bit values: the finaliser of SplitMix64 (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values

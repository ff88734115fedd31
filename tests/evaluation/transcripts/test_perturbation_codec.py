"""Points survive their encoding to the bit, and no other bytes are taken for points."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pyrobust.evaluation.transcripts.perturbation_codec import decode_points, encode_points

EPSILON = 8 / 255
RANDOM = np.random.default_rng(0)
X = (RANDOM.integers(0, 256, (5, 3, 7, 7)) / 255).astype(np.float32)


def corners(x: NDArray[np.float32]) -> NDArray[np.float32]:
    signs = RANDOM.choice(np.array([-1, 1], np.float32), x.shape)
    return np.clip(x + signs * np.float32(EPSILON), 0, 1).astype(np.float32)


POINTS = {
    "the images": X,
    "corners": corners(X),
    "inside": np.clip(X + RANDOM.uniform(-EPSILON, EPSILON, X.shape), 0, 1).astype(np.float32),
    "any bits": RANDOM.integers(0, 2**32, X.shape, np.uint32).view(np.float32),
    "negative zero": np.full_like(X, -0.0),
    "not finite": np.where(RANDOM.random(X.shape) < 0.5, np.float32(np.nan), np.float32(-np.inf)),
}


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("epsilon", [EPSILON, 0.0, 1.0])
@pytest.mark.parametrize("count", [5, 1])
def test_every_bit_survives(name: str, epsilon: float, count: int) -> None:
    points, x = POINTS[name][:count, :, :, : 7 if count == 5 else 3], X[:count, :, :, :7]
    x = x[:, :, :, : points.shape[3]]
    again = decode_points(encode_points(points, x, epsilon), x, epsilon)
    assert again.dtype == np.float32 and again.shape == points.shape
    assert again.tobytes() == np.ascontiguousarray(points).tobytes()


def test_corners_of_the_ball_take_two_bits_a_pixel() -> None:
    x = np.repeat(X, 20, axis=0)
    assert len(encode_points(corners(x), x, EPSILON)) < 0.27 * x.size


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:5],
        lambda data: b"",
        lambda data: b"no zlib at all",
        lambda data: encode_points(X[:2], X[:2], EPSILON),
        lambda data: encode_points(np.repeat(X, 9, 0), np.repeat(X, 9, 0), EPSILON),
    ],
)
def test_other_bytes_are_refused(damage) -> None:
    data = encode_points(POINTS["inside"], X, EPSILON)
    with pytest.raises(ValueError, match=r"bytes|zlib"):
        decode_points(damage(data), X, EPSILON)

"""Adversarial points as differences from their images: compact, and exact to the bit.

Most pixels of an adversarial point lie at x, or at one of the two ends of the linf ball, computed
in float32 as the attacks do. Two bits say which. All other pixels keep the difference between the
bits of the two numbers, in planes of bytes, of which the higher ones are mostly zero. Both parts
are compressed by zlib.
"""

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Codes of the likely values in the order of `_likely`, and of every other value.
_OTHER = 3
_CODES_PER_BYTE = 4
_SHIFTS = np.arange(0, 8, 2, dtype=np.uint8)

Pixels = NDArray[np.float32]


def encode_points(points: Pixels, x: Pixels, epsilon: float) -> bytes:
    """Return points as bytes, from which `decode_points` restores every bit.

    Args:
        points: of any shape, float32.
        x: the images of the same shape.
        epsilon: linf radius that the points are expected at; it only affects the size.
    """
    bits, own = _bits(points), _bits(x)
    codes = np.full(bits.size + -bits.size % _CODES_PER_BYTE, _OTHER, dtype=np.uint8)
    used = codes[: bits.size]
    for code, likely in enumerate(_likely(x, epsilon)):
        used[(used == _OTHER) & (bits == likely)] = code
    other = used == _OTHER
    signed = (bits[other] - own[other]).view(np.int32)
    # Zigzag: small differences of either sign have high bytes of zero.
    folded = ((signed << 1) ^ (signed >> 31)).view(np.uint32)
    planes = folded.astype("<u4").view(np.uint8).reshape(-1, 4).T
    packed = np.bitwise_or.reduce(codes.reshape(-1, _CODES_PER_BYTE) << _SHIFTS, axis=1)
    return zlib.compress(packed.tobytes() + planes.tobytes(), 9)


def decode_points(data: bytes, x: Pixels, epsilon: float) -> Pixels:
    """Return the points that `encode_points` encoded, of the shape of x.

    Raises:
        ValueError: the bytes do not belong to points of this shape.
    """
    own = _bits(x)
    num_packed = -(-own.size // _CODES_PER_BYTE)
    plain = _decompressed(data, num_packed + 4 * own.size)
    packed = np.frombuffer(plain, np.uint8, min(num_packed, len(plain)))
    codes = ((packed[:, None] >> _SHIFTS) & _OTHER).ravel()[: own.size]
    other = codes == _OTHER
    planes = np.frombuffer(plain, np.uint8, offset=len(packed))
    if codes.size != own.size or planes.size != 4 * int(other.sum()):
        raise ValueError(f"{len(plain)} bytes are not the points of {own.size} pixels")
    bits = np.empty_like(own)
    for code, likely in enumerate(_likely(x, epsilon)):
        here = codes == code
        bits[here] = likely[here]
    folded = np.ascontiguousarray(planes.reshape(4, -1).T).view("<u4").ravel().astype(np.uint32)
    signed = (folded >> np.uint32(1)) ^ (np.uint32(0) - (folded & np.uint32(1)))
    bits[other] = own[other] + signed
    return bits.view(np.float32).reshape(x.shape)


def _likely(x: Pixels, epsilon: float) -> Iterator[NDArray[np.uint32]]:
    """Yield the bits of x and of the ends of the ball around it, inside [0, 1]."""
    radius = np.float32(epsilon)
    yield _bits(x)
    yield _bits(np.minimum(x + radius, np.float32(1)))
    yield _bits(np.maximum(x - radius, np.float32(0)))


def _bits(values: Pixels) -> NDArray[np.uint32]:
    return np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).ravel()


def _decompressed(data: bytes, limit: int) -> bytes:
    """Return at most `limit` bytes; a file that expands to more is refused."""
    decoder = zlib.decompressobj()
    try:
        # One more, so that the end of the stream is reached.
        plain = decoder.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"not compressed by zlib: {error}") from error
    if not decoder.eof or decoder.unused_data or len(plain) > limit:
        raise ValueError("more bytes than the points have, or fewer")
    return plain

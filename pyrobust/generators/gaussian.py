"""The class-conditional Gaussian of section 3.2: one multivariate normal a class.

All sums and products are in float64: with integers they are exact, and images rounded to 8 bits
do not show the last bits that different processors disagree about.
"""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.generators.base import MADE_BY, BlockGenerator, Fit, GeneratorSpec, Samples
from pyrobust.generators.weights import WEIGHTS, map_tensors, write_tensors
from pyrobust.ops import normal
from pyrobust.progress import counting
from pyrobust.threads import num_threads

# Images of each class in a block: the most that keep it below 64 MiB. More rows keep a matrix
# product busier; these divide parts of 100,000 into whole blocks for 10, 100 and 200 classes.
_ROWS = (250, 100, 50, 25)
_BLOCK_BYTES = 1 << 26

# Rows of images that are multiplied at a time while the covariance is summed.
_FIT_ROWS = 1024

# Strips that a triangular factor is cut into, so that its zeros are not multiplied.
_STRIPS = 16


class GaussianGenerator(BlockGenerator):
    """Sample i is of class i mod K: mean + factor · noise, clipped and rounded to uint8.

    The factor of a class with at least as many images as pixel values is the Cholesky factor of its
    covariance + jitter · I. With fewer images the covariance is singular and large, and the
    centred images themselves are its factor; jitter then adds independent noise, whose deviation
    is stored with it. Factors are stored in float32, which halves the file and changes a pixel
    by far less than one shade.
    """

    def __init__(
        self, spec: GeneratorSpec, weights: Mapping[str, np.ndarray], sha256: str | None = None
    ) -> None:
        super().__init__(spec, sha256)
        self.weights = weights
        num_classes = len(spec.class_names)
        bytes_per_row = num_classes * math.prod(spec.image_shape)
        fitting = (rows for rows in _ROWS if rows * bytes_per_row <= _BLOCK_BYTES)
        self.block_size = next(fitting, _ROWS[-1]) * num_classes

    @classmethod
    def fit(cls, fit: Fit) -> Self:
        """Estimate mean and covariance (divided by n: maximum likelihood) of each class.

        Raises:
            UserError: a covariance is not positive definite.
        """
        dataset = fit.dataset
        train, labels = dataset.train, dataset.train.labels()

        def fit_class(label: int) -> tuple[np.ndarray, np.ndarray]:
            rows = np.flatnonzero(labels == label)
            return _fit_class(train, rows, fit.settings.jitter, dataset.class_names[label])

        weights: dict[str, np.ndarray] = {}
        means, deviations = [], []
        with (
            threadpool_limits(1),
            ThreadPoolExecutor(num_threads()) as pool,
            counting(dataset.num_classes, "gaussian", "classes") as advance,
        ):
            for label, (mean, factor) in enumerate(pool.map(fit_class, range(dataset.num_classes))):
                means.append(mean)
                weights[_factor_name(label)] = factor
                is_singular = factor.shape[1] < factor.shape[0]
                deviations.append(math.sqrt(fit.settings.jitter) if is_singular else 0.0)
                advance(1)
        weights["mean"] = np.stack(means)
        weights["noise"] = np.array(deviations)  # in pixels in [0, 1], as the means
        return cls(fit.spec, weights)

    def write_weights(self, folder: Path) -> str:
        """Write means and factors."""
        return write_tensors(folder / WEIGHTS, self.weights)

    @classmethod
    def read_weights(cls, folder: Path, spec: GeneratorSpec, sha256: str) -> Self:
        """Map means and factors."""
        return cls(spec, map_tensors(folder / WEIGHTS, sha256, MADE_BY), sha256)

    def sample_block(self, block: int, seed: int) -> Samples:
        """Return equally many images of each class, dealt out in turn."""
        num_classes = len(self.spec.class_names)
        ids = block * self.block_size + np.arange(self.block_size)
        images = np.empty((self.block_size, *self.spec.image_shape), np.uint8)

        def sample_class(label: int) -> None:
            mine = slice(label, None, num_classes)
            pixels = self._draw(label, ids[mine], seed)
            images[mine] = pixels.reshape(-1, *self.spec.image_shape)

        # One thread a class and one of BLAS in each: the bits do not depend on how many there are.
        with threadpool_limits(1), ThreadPoolExecutor(num_threads()) as pool:
            list(pool.map(sample_class, range(num_classes)))
        return Samples(images, ids % num_classes)

    def _draw(self, label: int, ids: np.ndarray, seed: int) -> np.ndarray:
        """Return images (len(ids), D) uint8 of one class."""
        mean, factor = self.weights["mean"][label], self.weights[_factor_name(label)]
        dimension, rank = factor.shape
        if rank == dimension:
            pixels = _times_lower(_noise(seed, ids, dimension), factor)
        else:
            noise = _noise(seed, ids, rank + dimension)
            pixels = noise[:, :rank] @ factor.T.astype(np.float64)
            pixels += self.weights["noise"][label] * noise[:, rank:]
        pixels += mean
        pixels *= 255
        return np.clip(np.rint(pixels, out=pixels), 0, 255, out=pixels).astype(np.uint8)


def _noise(seed: int, ids: np.ndarray, count: int) -> np.ndarray:
    """Return standard normals (len(ids), count) float64; a row depends on (seed, id) alone."""
    noise = normal(torch.from_numpy(ids), (count,), seed, dtype=torch.float64)
    return noise.numpy()


def _factor_name(label: int) -> str:
    return f"factor.{label}"


def _fit_class(
    store: SampleStore, rows: np.ndarray, jitter: float, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (D,) float64 and the factor (D, D) or (D, n) float32, pixels in [0, 1]."""
    count, dimension = len(rows), math.prod(store.image_shape)
    total = np.zeros(dimension)
    products = np.zeros((dimension, dimension)) if count >= dimension else None
    for first in range(0, count, _FIT_ROWS):
        pixels = store.gather(rows[first : first + _FIT_ROWS]).reshape(-1, dimension)
        values = pixels.astype(np.float64)
        total += values.sum(axis=0)
        if products is not None:
            products += values.T @ values
    mean = total / (255 * count)
    if products is None:
        centred = store.gather(rows).reshape(count, dimension) / 255 - mean
        return mean, np.ascontiguousarray(centred.T / np.sqrt(count), dtype=np.float32)
    # count · products and the outer product are integers below 2^53, hence exact.
    products *= count
    products -= np.outer(total, total)
    products /= (255 * count) ** 2
    products[np.diag_indices(dimension)] += jitter
    try:
        return mean, np.linalg.cholesky(products).astype(np.float32)
    except np.linalg.LinAlgError as error:
        raise UserError(
            f"the covariance of class '{name}' is singular with jitter {jitter:g}; increase it "
            f"(--jitter {max(10 * jitter, 1e-06):g})"
        ) from error


def _times_lower(noise: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return noise @ factor.T for a lower triangular factor (D, D), in strips of its rows."""
    dimension = len(factor)
    width = -(-dimension // _STRIPS)
    product = np.empty((len(noise), dimension))
    # One buffer for all strips: fresh memory for each would cost more than the conversion.
    buffer = np.empty(width * dimension)
    for first in range(0, dimension, width):
        last = min(first + width, dimension)
        strip = buffer[: (last - first) * last].reshape(last - first, last)
        np.copyto(strip, factor[first:last, :last])
        np.matmul(noise[:, :last], strip.T, out=product[:, first:last])
    return product

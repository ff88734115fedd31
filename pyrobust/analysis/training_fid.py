"""The FID of a generator while it trains, against all training images (`keep_best: fid`)."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyrobust.analysis.feature_extractors import make_extractor
from pyrobust.analysis.fid import Moments, frechet_distance, moments
from pyrobust.config.analysis import ExtractorSettings
from pyrobust.data.store import SampleStore
from pyrobust.models.extraction import Extractor


class TrainingFid:
    """Measures samples against a store of training images.

    Args:
        features: file of the weights of FID-Inception, or folder or labeller.json of a labeller.

    Raises:
        UserError: it is neither, or for other images.
    """

    def __init__(self, features: Path, train: SampleStore, device: torch.device) -> None:
        self._extractor = _extractor(features, device)
        self._train = train
        self._original: Moments | None = None

    @property
    def description(self) -> dict[str, Any]:
        """What decides the features, apart from the images."""
        return self._extractor.description

    def __call__(self, samples: Iterable[np.ndarray], stopping: Callable[[], bool]) -> float | None:
        """Return the distance; None if `stopping` turned true on the way.

        Args:
            samples: blocks of images (N, H, W, C) uint8, at least two images together.
        """
        if self._original is None:
            blocks = (block for _, block in self._train.blocks(self._extractor.batch_size))
            self._original = self._moments(blocks, stopping)
        found = self._moments(samples, stopping) if self._original else None
        return frechet_distance(self._original, found) if self._original and found else None

    def _moments(
        self, blocks: Iterable[np.ndarray], stopping: Callable[[], bool]
    ) -> Moments | None:
        features = []
        for batch in _batches(blocks, self._extractor.batch_size):
            if stopping():
                return None
            features.append(self._extractor(batch)[0])
        return moments(np.concatenate(features))


def _extractor(features: Path, device: torch.device) -> Extractor:
    if features.is_dir() or features.name == "labeller.json":
        folder = features if features.is_dir() else features.parent
        return make_extractor(ExtractorSettings(), folder, device)
    settings = ExtractorSettings(extractor="inception", weights=str(features))
    return make_extractor(settings, None, device)


def _batches(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    for block in blocks:
        for first in range(0, len(block), size):
            yield block[first : first + size]

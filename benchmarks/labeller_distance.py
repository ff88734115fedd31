"""The Fréchet distance of images from a training split, on a labeller's features.

It compares generators of one data set under one labeller, and is not comparable
with published FIDs.
"""

from pathlib import Path

import numpy as np
import torch

from pyrobust.analysis.feature_extractors import make_extractor
from pyrobust.analysis.fid import frechet_distance, moments
from pyrobust.config.analysis import FeatureSettings
from pyrobust.data.feature_set import FeatureSet, Rows
from pyrobust.errors import UserError


class LabellerDistance:
    """Measures images against the features that the workflow extracted from a training split.

    Args:
        labeller: folder of the labeller.
        features: folder of the training images' features.

    Raises:
        UserError: the features are of another labeller.
    """

    def __init__(self, labeller: Path, features: Path, device: torch.device) -> None:
        original = FeatureSet.open(features)
        self._extractor = make_extractor(FeatureSettings(), labeller, device)
        if original.extractor != self._extractor.description:
            raise UserError(
                f"{features} belongs to another labeller than {labeller}; delete it and run again"
            )
        self._original = moments(Rows(original, np.arange(original.count)))
        self.num_original = original.count
        self.description = self._extractor.description

    def __call__(self, images: np.ndarray) -> float:
        """Return the distance of (N, H, W, C) uint8 images."""
        size = self._extractor.batch_size
        features = [
            self._extractor(images[first : first + size])[0]
            for first in range(0, len(images), size)
        ]
        return frechet_distance(self._original, moments(np.concatenate(features)))

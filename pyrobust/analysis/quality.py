"""The quality stage: FID, Inception score, precision, recall, density and coverage."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.analysis import inception
from pyrobust.analysis.fid import frechet_distance, moments
from pyrobust.analysis.image_subsets import stratified_subset
from pyrobust.analysis.inception_score import inception_score
from pyrobust.analysis.pca import one_blas_thread
from pyrobust.analysis.precision_recall import manifold_scores
from pyrobust.config.analysis import QualitySettings
from pyrobust.cost import write_cost
from pyrobust.data.feature_set import FeatureSet, Rows, check_same_space
from pyrobust.data.store import label_type
from pyrobust.errors import UserError
from pyrobust.files import write_json

# The covariance of more dimensions would not fit in memory: LPIPS needs 125 GB.
_MAX_DIMENSIONS = 8192


def measure_quality(
    original: FeatureSet, generated: FeatureSet, output: Path, settings: QualitySettings
) -> None:
    """Write `quality.json`.

    Raises:
        UserError: the sets do not fit together, are too small, or too wide.
    """
    started = time.monotonic()
    check_same_space(original, generated)
    _check_shapes(original, generated, settings)
    mean, std = inception_score(generated, settings.splits)
    with one_blas_thread():
        scores = manifold_scores(
            _some(original, settings), _some(generated, settings), settings.nearest_k
        )
        fid = frechet_distance(
            *(moments(Rows(each, np.arange(each.count))) for each in (original, generated))
        )
    summary: dict[str, Any] = {
        "extractor": original.extractor["name"],
        "extractor_sha256": original.extractor["weights_sha256"],
        "comparable_with_published": original.extractor
        == {"name": "inception", "weights_sha256": inception.SHA256},
        "settings": settings.model_dump(),
        "num_images": generated.count,
        "num_original": original.count,
        "dimensions": original.dimensions,
        "fid": fid,
        "inception_score": {"mean": mean, "std": std, "splits": settings.splits},
        "manifold": {**scores.to_json(), "nearest_k": settings.nearest_k},
        "notes": [*_notes(original, generated), *scores.notes(settings.nearest_k)],
    }
    write_json(output / "quality.json", summary)
    write_cost(output / "quality.cost.json", time.monotonic() - started, "cpu")


def _check_shapes(original: FeatureSet, generated: FeatureSet, settings: QualitySettings) -> None:
    if original.num_logits == 0 or original.dimensions > _MAX_DIMENSIONS:
        raise UserError(
            f"{original.path} has {original.dimensions:,} features of "
            f"{original.extractor['name']}, but quality requires at most {_MAX_DIMENSIONS:,} "
            "and logits; run 'pyrobust features' with --extractor labeller or inception"
        )
    needed = max(settings.splits, settings.nearest_k + 1, 2)
    for features in (original, generated):
        if features.count < needed:
            raise UserError(
                f"{features.path} has {features.count} images; splits {settings.splits} and "
                f"nearest_k {settings.nearest_k} require at least {needed}"
            )


def _some(features: FeatureSet, settings: QualitySettings) -> np.ndarray:
    """Return the features of a draw with the class shares of the set, (n, D) float32."""
    kind = label_type(len(features.class_names))
    labels = features.labels(kind) if features.labelled else np.zeros(features.count, kind)
    return features.features(stratified_subset(labels, settings.manifold_samples, settings.seed))


def _notes(original: FeatureSet, generated: FeatureSet) -> list[str]:
    """Return what keeps the numbers from being compared."""
    notes = []
    if original.extractor["name"] == "labeller":
        notes.append(
            "FID and Inception score use the labeller's features and softmax, so they only compare "
            "generators of one data set and labeller"
        )
    fewest = min(original.count, generated.count)
    if fewest <= original.dimensions:
        notes.append(
            f"{fewest:,} images do not span {original.dimensions:,} features: fid is biased"
        )
    return notes

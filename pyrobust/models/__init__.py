"""Image classifiers in the published layouts, their files and their checkpoints."""

from pyrobust.models.batch_norm import batch_statistics, tracked_statistics
from pyrobust.models.build import build_model, initialize, logits_in
from pyrobust.models.files import load_model, save_model
from pyrobust.models.layers import ImageClassifier
from pyrobust.models.spec import ModelSpec

__all__ = [
    "ImageClassifier",
    "ModelSpec",
    "batch_statistics",
    "build_model",
    "initialize",
    "load_model",
    "logits_in",
    "save_model",
    "tracked_statistics",
]

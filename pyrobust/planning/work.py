"""Counted work of networks, attacks and searches; a multiply-add is two operations."""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from pyrobust.config.analysis import AnalysisSettings
from pyrobust.config.evaluation import EvaluationSettings, LandscapeSettings
from pyrobust.config.generator_types import TYPES, GeneratorWork
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.training import TrainSettings
from pyrobust.data.store import ImageShape
from pyrobust.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from pyrobust.models import ImageClassifier

# A pass with the gradient of the image costs two forward passes, one with that of the weights
# three.
_IMAGE_GRADIENT, _WEIGHT_GRADIENT = 2, 3

# Of the paper's models, two images in three withstand the first attack and meet the others.
STANDING = 2 / 3


# Images that the work of generators is counted for: 8×8 pixels for the preset tiny, else 32×32.
_COUNTED_PIXELS = 32 * 32
_TINY_PIXELS = 8 * 8

# FID-Inception resizes all images to one size; LPIPS uses the original size.
INCEPTION_FLOPS, INCEPTION_DIMENSIONS = 11.4e9, 2048
_LPIPS_FLOPS, _LPIPS_DIMENSIONS = 0.63e9, 124_928

# Up to so many, a PCA decomposes the covariance matrix; wider features take subspace iteration.
EXACT_DIMENSIONS = 4096

# Images of one pass of a landscape.
LANDSCAPE_PASS = 64

# Samples that an approximate search looks for exactly as well.
NUM_CHECKED = 1000

# FAISS's distances, which a search keeps in memory with the points.
_FAISS_BYTES = 4 * 4096 * 1024


@cache
def classifier(architecture: str, image_shape: ImageShape, num_classes: int) -> tuple[int, int]:
    """Return the operations of one image's forward pass, and the number of weights."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model, x = without_memory(architecture, image_shape, num_classes, 1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops(), sum(weight.numel() for weight in model.parameters())


def without_memory(
    architecture: str, image_shape: ImageShape, num_classes: int, count: int
) -> tuple["ImageClassifier", "Tensor"]:
    """Return a network in evaluation mode and `count` images, both without memory.

    Any size is then counted in a moment.
    """
    import torch

    from pyrobust.models import ModelSpec, build_model

    height, width, channels = image_shape
    half = (0.5,) * channels
    spec = ModelSpec(architecture, "silu", num_classes, image_shape, half, half)
    with torch.device("meta"):
        return build_model(spec).eval(), torch.empty(count, channels, height, width)


def penultimate(architecture: str) -> int:
    """Return the width of a classifier's penultimate layer."""
    if architecture.startswith("wrn-"):
        return 64 * int(architecture.rsplit("-", 1)[1])
    return 512


def extractor(name: str, image_shape: ImageShape) -> tuple[float, int]:
    """Return the operations an image of a published extractor, and its dimensions."""
    if name == "inception":
        return INCEPTION_FLOPS, INCEPTION_DIMENSIONS
    scale = image_shape[0] * image_shape[1] / _COUNTED_PIXELS
    return _LPIPS_FLOPS * scale, round(_LPIPS_DIMENSIONS * scale)


def pca_flops(originals: int, projected: int, dimensions: int, components: int) -> float:
    """Return the operations of a PCA that is fitted on `originals` and projects `projected` rows.

    Up to EXACT_DIMENSIONS of the covariance matrix; of wider features, six passes of subspace
    iteration and the covariance within the subspace.
    """
    if dimensions <= EXACT_DIMENSIONS:
        fit = 2.0 * originals * dimensions**2
    else:
        fit = (6 * 4 + 2) * originals * dimensions * (components + 50.0)
    return fit + 2.0 * projected * dimensions * components


def inverted_list_pairs(
    queries: int, points: int, probes: int, components: int, memory_bytes: float
) -> float:
    """Return the distances that an approximate search computes, those of its k-means included.

    Each block of points, as many as the memory holds, has about 4 sqrt(n) clusters,
    from ten rounds over 256 points a cluster at most.
    """
    block = min(points, max(1024.0, 0.7 * memory_bytes / (20 * components)))
    clusters = max(1.0, min(4 * math.sqrt(block), block / 39))
    visited = block * min(1.0, probes / clusters)
    assigned = 10 * min(block, 256 * clusters) + block
    return points / block * (queries * (clusters + visited) + assigned * clusters)


def generator_work(settings: GeneratorSettings) -> GeneratorWork:
    """Return the work of the network of a type that is trained.

    Raises:
        UserError: the type is the user's own.
    """
    if ":" in settings.type:
        raise UserError(
            f"the cost of the generator {settings.type} is not known: plan the experiment with "
            "another generator"
        )
    return TYPES[settings.type].work[settings.preset]


def generator_pass(settings: GeneratorSettings, image_shape: ImageShape) -> float:
    """Return the operations of one pass of a generator's network, scaled with the pixels."""
    return generator_work(settings).flops * counted_images(settings, image_shape)


def counted_images(settings: GeneratorSettings, image_shape: ImageShape) -> float:
    """Return how many images of the size that `GeneratorWork` is counted for an image is."""
    counted = _TINY_PIXELS if settings.preset == "tiny" else _COUNTED_PIXELS
    return image_shape[0] * image_shape[1] / counted


def training_passes(settings: TrainSettings) -> int:
    """Return the forward passes that an image of a batch costs: 26 for TRADES with ten steps.

    The loss of adversarial training is computed on the attacked image, other losses on the clean
    one as well; AWP computes the loss twice. Interval bounds cost two passes besides the clean one,
    and no attack. An objective MODULE:NAME is counted as TRADES.
    """
    images = {"adversarial_training": 1, "ibp": 3}.get(settings.objective, 2)
    losses = 2 if settings.awp_gamma > 0 else 1
    attack_steps = 0 if settings.objective == "ibp" else settings.attack_steps
    return losses * images * _WEIGHT_GRADIENT + _IMAGE_GRADIENT * attack_steps


def validation_passes() -> int:
    """Return the forward passes of an image of the validation split under PGD-40."""
    return 1 + _IMAGE_GRADIENT * 40


def landscape_passes(settings: LandscapeSettings, num_images: int) -> tuple[int, int]:
    """Return the forward passes of PGD-40 and of the planes for the first `num_images` images.

    Passes have a fixed size, so that few images cost as much as a whole pass.
    """
    attacked = LANDSCAPE_PASS * math.ceil(num_images / LANDSCAPE_PASS)
    row = LANDSCAPE_PASS * math.ceil(settings.resolution / LANDSCAPE_PASS)
    return attacked * validation_passes(), num_images * settings.resolution * row


def attack_passes(settings: EvaluationSettings, num_classes: int, standing: float) -> float:
    """Return the forward passes of an evaluation, for each image.

    Args:
        standing: share of the images that withstand the first attack and meet all others.
    """
    targets = min(settings.multitargeted_targets or num_classes - 1, num_classes - 1)
    shared = 1 if settings.multitargeted_share_restarts else targets
    first = settings.apgd_ce_steps * settings.apgd_ce_restarts
    others = (
        settings.apgd_dlr_steps * settings.apgd_dlr_restarts
        + settings.multitargeted_steps * settings.multitargeted_restarts * shared
    )
    radii = 1 + len(settings.curve)
    passes = 1 + radii * _IMAGE_GRADIENT * (first + standing * others)
    if settings.autoattack:
        passes += _autoattack_passes(num_classes, standing)
    return passes


def _autoattack_passes(num_classes: int, standing: float) -> float:
    """Return those of AutoAttack: APGD-CE, APGD-T and FAB-T on nine targets, 5,000 of Square."""
    targets = min(9, num_classes - 1)
    others = _IMAGE_GRADIENT * 100 * targets + _WEIGHT_GRADIENT * 100 * targets + 5000
    return _IMAGE_GRADIENT * 100 + standing * others


def point_blocks(points: int, values: int, memory_bytes: int) -> int:
    """Return the blocks of points that an exact search holds one after another."""
    block = int(0.7 * (memory_bytes - _FAISS_BYTES)) // (16 * values + 128)
    return math.ceil(points / max(1024, block))


def visits(queries: int, others: Sequence[int], values: int, memory_bytes: int) -> int:
    """Return the values of all queries, once for each block of each of the other sets."""
    blocks = sum(point_blocks(points, values, memory_bytes) for points in others)
    return values * queries * blocks


def pixel_distances(
    samples: int, jobs: int, originals: int, pixels: int, memory_bytes: int
) -> dict[str, float]:
    """Return the work of `jobs` that compare samples with original images and their mirror images.

    That is the most: not every data set is mirrored. Each job prepares the points again.
    """
    points = 2 * originals
    return {
        "search": 2.0 * pixels * samples * points,
        "pixel_visits": visits(samples, [points], pixels, memory_bytes),
        "points": jobs * points * pixels,
    }


def neighbour_search(
    sizes: Sequence[int],
    components: int,
    settings: AnalysisSettings,
    memory_bytes: int,
    jobs: int = 1,
) -> dict[str, float]:
    """Return the work of Algorithm 1 on projections of training, test and own images.

    Args:
        sizes: images of the three sets.
        jobs: jobs that share the search among the own images, each of which clusters them again.
    """
    train, test, own = sizes
    pairs, flops = own * sum(sizes), 2.0 * components
    reference = 2 * train * test
    if not settings.approximate:
        met = visits(own, sizes, components, memory_bytes)
        return {"search": flops * (pairs + reference), "visits": met}
    # The reference and a check of some samples are exact all the same.
    exact = reference + NUM_CHECKED * sum(sizes)
    listed = sum(
        count * inverted_list_pairs(own // count, size, settings.probes, components, memory_bytes)
        for size, count in zip(sizes, (1, 1, jobs), strict=True)
    )
    return {"search": flops * exact, "inverted_lists": flops * listed}

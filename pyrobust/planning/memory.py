"""Counted memory of a GPU: weights, optimisers, what passes keep, and resident images.

Not counted are CUDA itself, workspaces of its libraries and fragmentation.
"""

import math
from functools import cache

from pyrobust.config.experiment import Config, check_training
from pyrobust.config.generator_types import TYPES
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.training import LabellerSettings, TrainSettings
from pyrobust.data.store import ImageShape
from pyrobust.planning import work
from pyrobust.planning.sizes import ImageCounts

# Weights, their gradients, momentum and averages, in float32.
_BYTES_OF_A_WEIGHT = 4 * 4

# Stores up to this size are resident by default (`--resident-mb`).
_RESIDENT_BYTES = 4096 << 20

# Images that a trained generator samples at a time (`TrainedGenerator.block_size`).
SAMPLED_TOGETHER = 250

# The other generators keep many values in float32 (bfloat16 saves a third of the training memory of
# BigGAN, VDVAE and StyleGAN2, and little when they sample), and are counted as if they kept all.
_HALVED_BY_BFLOAT16 = ("ddpm", "edm")

# Images of the passes that are counted.
_FEW, _MORE = 2, 4


def device_memory(config: Config, name: str, images: ImageCounts) -> dict[str, int]:
    """Return stage → bytes of a GPU for one job, of the stages whose memory can be counted."""
    experiment = config.experiments[name]
    labeller, training = config.labellers[experiment.labeller], check_training(experiment)
    pass_size = config.evaluations[experiment.evaluation].pass_size
    generated = experiment.num_samples if experiment.uses_generated else 0
    known = {
        "train-labeller": _of_training(labeller, images, images.train),
        "train": _of_training(training, images, images.train + generated),
        "evaluate (labeller)": _of_evaluation(labeller.architecture, pass_size, images),
        "evaluate": _of_evaluation(training.architecture, pass_size, images),
    }
    if generated:
        known |= _of_generator(config.generators[experiment.generator], images)
        known["neighbours"] = int(1e9 * config.search_memory_gb)
    return known


def _of_training(
    settings: LabellerSettings | TrainSettings, images: ImageCounts, num_images: int
) -> int:
    """Return the bytes of a process that trains on whole batches of `num_images` images."""
    _, weights = work.classifier(settings.architecture, images.image_shape, images.num_classes)
    kept = kept_bytes(settings.architecture, images.image_shape, images.num_classes)
    if settings.precision == "bfloat16":
        kept //= 2
    # Adversarial training and the labeller hold the graph of one pass, most others of two, and
    # interval bounds those of their centre and radius besides the clean one.
    objective = settings.objective if isinstance(settings, TrainSettings) else "labeller"
    passes = {"adversarial_training": 1, "labeller": 1, "ibp": 3}.get(objective, 2)
    stored = num_images * math.prod(images.image_shape)
    return (
        _BYTES_OF_A_WEIGHT * weights
        + passes * settings.batch_size * kept
        + (stored if stored <= _RESIDENT_BYTES else 0)
    )


def _of_generator(settings: GeneratorSettings, images: ImageCounts) -> dict[str, int]:
    """Return the bytes of training a generator and of sampling, for types with a network."""
    kind = TYPES.get(settings.type)
    if kind is None or not kind.is_trained:
        return {}
    network = work.generator_work(settings)
    scale = work.counted_images(settings, images.image_shape)
    if settings.precision == "bfloat16" and settings.type in _HALVED_BY_BFLOAT16:
        scale /= 2
    found = {}
    if settings.path is None:
        # Weights, their gradients and Adam's two moments, and the average of the one that samples.
        weights = 4 * (5 * network.weights + 4 * network.discriminator_weights)
        kept = int(settings.batch_size * network.kept_bytes * scale)
        stored = images.train * math.prod(images.image_shape)
        found["fit-generator"] = weights + kept + (stored if stored <= _RESIDENT_BYTES else 0)
    found["sample"] = 4 * network.weights + int(SAMPLED_TOGETHER * network.sampled_bytes * scale)
    return found


def _of_evaluation(architecture: str, pass_size: int, images: ImageCounts) -> int:
    """Return the bytes of attacks on a network, which run in float32 at most."""
    _, weights = work.classifier(architecture, images.image_shape, images.num_classes)
    kept = kept_bytes(architecture, images.image_shape, images.num_classes)
    return 4 * weights + pass_size * kept


@cache
def kept_bytes(architecture: str, image_shape: ImageShape, num_classes: int) -> int:
    """Return the bytes for each image that a float32 training pass keeps for its backward pass.

    The network runs without memory, and autograd says what it saves.
    """
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    from pyrobust.models.batch_norm import batch_statistics

    def of(count: int) -> int:
        model, x = work.without_memory(architecture, image_shape, num_classes, count)
        kept = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage
            return tensor

        with batch_statistics(model), saved_tensors_hooks(keep, lambda tensor: tensor):
            model(x)
        return sum(storage.nbytes() for storage in kept.values())

    # Weights are kept as well, whatever the number of images.
    return (of(_MORE) - of(_FEW)) // (_MORE - _FEW)

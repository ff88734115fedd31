"""Augmentations of the training images, to be analysed as if a generator had made them (Table 5).

Image i of the result is image i of the store, changed, and keeps its label. So the draws of
features and neighbours choose the same images of both, as the paper does: "we sample 10K images
from the training set, and apply mixup to them".
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError
from pyrobust.progress import counting

# image, another image of the store (both (H, W, C) uint8), random numbers -> image
Augmentation = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]

_BLOCK = 1024
_CROP_PADDING = 4
_MIXUP_ALPHA = 0.2


def augment_store(source: SampleStore, output: Path, name: str, seed: int) -> None:
    """Write a store of augmented images; each is a function of (store, name, seed, row) alone.

    Args:
        name: a key of AUGMENTATIONS.

    Raises:
        UserError: no augmentation has this name, or it cannot be applied to such images.
    """
    if name not in AUGMENTATIONS:
        raise UserError(f"unknown augmentation '{name}'; choose one of: {', '.join(AUGMENTATIONS)}")
    if source.count < 2:
        raise UserError(f"{source.path} has {source.count} images; at least 2 are required")
    if name in _COLOUR_ONLY and source.image_shape[2] != 3:
        raise UserError(
            f"{source.path} has images with {source.image_shape[2]} channels, but {name} requires 3"
        )
    augment = AUGMENTATIONS[name]
    labels = source.labels()
    writer = StoreWriter(
        output,
        source.image_shape,
        source.class_names,
        source.count,
        {"augmentation": name, "store": source.sha256, "seed": seed},
        "pyrobust augment",
    )
    with counting(source.count, f"augment ({name})", "images", writer.count) as advance:
        for first, images in source.blocks(_BLOCK, writer.count):
            rows = np.arange(first, first + len(images))
            random = [np.random.default_rng([seed, row]) for row in rows.tolist()]
            steps = [generator.integers(1, source.count) for generator in random]
            partners = source.gather((rows + steps) % source.count)
            augmented = map(augment, images, partners, random)
            writer.append(np.stack(list(augmented)), labels[rows])
            advance(len(rows))
    writer.finish()


def crop_flip(image: np.ndarray, _: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Pad by zeros, crop at random and mirror every second image."""
    height, width, _channels = image.shape
    padded = np.pad(image, ((_CROP_PADDING, _CROP_PADDING), (_CROP_PADDING, _CROP_PADDING), (0, 0)))
    top, left = random.integers(0, 2 * _CROP_PADDING + 1, 2)
    crop = padded[top : top + height, left : left + width]
    return crop[:, ::-1] if random.random() < 0.5 else crop


def cutout(image: np.ndarray, _: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Black out a square of half the side around a random pixel (DeVries and Taylor 2017)."""
    height, width, _channels = image.shape
    rows, columns = _box(random, height, width, height // 2, width // 2)
    result = image.copy()
    result[rows, columns] = 0
    return result


def mixup(image: np.ndarray, partner: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blend with another image, which gets the smaller weight (Zhang et al. 2018)."""
    weight = _larger(random.beta(_MIXUP_ALPHA, _MIXUP_ALPHA))
    return np.rint(weight * image + (1 - weight) * partner).astype(np.uint8)


def cutmix(image: np.ndarray, partner: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Paste a box of another image, of at most half the area (Yun et al. 2019)."""
    height, width, _channels = image.shape
    side = np.sqrt(1 - _larger(random.random()))
    rows, columns = _box(random, height, width, round(side * height), round(side * width))
    result = image.copy()
    result[rows, columns] = partner[rows, columns]
    return result


def rand_augment(image: np.ndarray, _: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Apply two random operations of magnitude 9 (Cubuk et al. 2020)."""
    from torchvision.transforms import RandAugment

    return _by_torchvision(RandAugment(num_ops=2, magnitude=9), image, random)


def auto_augment(image: np.ndarray, _: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Apply a sub-policy that was learned on CIFAR-10 (Cubuk et al. 2019)."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    return _by_torchvision(AutoAugment(AutoAugmentPolicy.CIFAR10), image, random)


AUGMENTATIONS: dict[str, Augmentation] = {
    "crop_flip": crop_flip,
    "cutout": cutout,
    "mixup": mixup,
    "cutmix": cutmix,
    "rand_augment": rand_augment,
    "auto_augment": auto_augment,
}
_COLOUR_ONLY = {"rand_augment", "auto_augment"}


def _larger(share: float) -> float:
    """Return the share of the image itself: an augmentation keeps more of it than it takes."""
    return max(share, 1 - share)


def _box(
    random: np.random.Generator, height: int, width: int, box_height: int, box_width: int
) -> tuple[slice, slice]:
    """Return a box around a random pixel, cut off at the border."""
    top = int(random.integers(height)) - box_height // 2
    left = int(random.integers(width)) - box_width // 2
    rows = slice(max(0, top), min(height, top + box_height))
    columns = slice(max(0, left), min(width, left + box_width))
    return rows, columns


def _by_torchvision(
    transform: Callable[..., object], image: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Apply a transform that draws from torch's global generator, and leave that as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random.integers(2**62)))
        changed = transform(torch.from_numpy(image).permute(2, 0, 1))
    assert isinstance(changed, torch.Tensor)
    result: np.ndarray = changed.permute(1, 2, 0).numpy()
    return result

"""Images and labels in memory are validated as the command line validates files."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyrobust.errors import UserError
from pyrobust.evaluation.labelled_images import LabelledImages
from tests.stand_in_device import DEVICE, stand_in_device

IMAGES = torch.rand(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 1, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_tensors_are_loaded_as_pixels_in_float32(dtype: torch.dtype) -> None:
    images = LabelledImages.of_tensors(IMAGES.to(dtype), LABELS.to(torch.uint8))
    assert (images.count, images.image_shape) == (5, (4, 6, 3))
    x, labels = images.load(range(1, 4), "cpu")
    assert torch.equal(x, IMAGES.to(dtype).float()[1:4])
    assert labels.tolist() == [1, 2, 1] and labels.dtype == torch.int64


def test_bytes_are_divided_by_255() -> None:
    images = LabelledImages.of_tensors((IMAGES * 255).round().byte(), LABELS)
    x, _ = images.load(range(5), "cpu")
    assert torch.equal(x, (IMAGES * 255).round().byte().float() / 255)


def test_pixels_have_the_same_bits_on_every_device() -> None:
    shades = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    images = LabelledImages.of_tensors(shades, torch.tensor([0]))
    with stand_in_device() as device, _DividingByReciprocals():
        x, _ = images.load(range(1), device)
        there = x.cpu()
    assert torch.equal(there, shades.float() / 255)


class _DividingByReciprocals(TorchDispatchMode):
    """Divides by numbers as CUDA does: by one multiplication, which rounds twice."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.div.Tensor and args[0].device == DEVICE:
            return args[0] * (1 / args[1])
        return func(*args, **(kwargs or {}))


def test_equal_images_have_one_hash_and_others_another() -> None:
    hashes = [
        LabelledImages.of_tensors(images, labels).sha256
        for images, labels in (
            (IMAGES, LABELS),
            (IMAGES.clone(), LABELS.int()),
            (IMAGES.flip(0), LABELS),
            (IMAGES, LABELS.flip(0) + 1),
        )
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            IMAGES * 255,
            LABELS,
            r"pixels range from 0\.3152 to 255, but must be in \[0, 1\]; divide 0\.\.255",
        ),
        (IMAGES - 0.5, LABELS, r"pixels range from -0\.\d+ to"),
        (IMAGES.where(IMAGES > 0.1, torch.nan), LABELS, "pixels range from nan to nan"),
        (
            IMAGES.long(),
            LABELS,
            r"images are torch\.int64; expected floating-point pixels in \[0, 1\] or uint8",
        ),
        (IMAGES[0], LABELS, r"have shape \(3, 4, 6\), expected \(N, C, H, W\)"),
        (IMAGES[:0], LABELS[:0], r"have shape \(0, 3, 4, 6\)"),
        (
            torch.rand(5, 32, 32, 3),
            LABELS,
            r"images have shape \(5, 32, 32, 3\), which looks like \(N, H, W, C\); permute",
        ),
        (
            IMAGES,
            LABELS.float(),
            r"labels are torch\.float32; expected integers, the class of each image",
        ),
        (IMAGES, LABELS[:4], r"labels have shape \(4,\); expected \(5,\), one per image"),
        (IMAGES, LABELS - 1, "label -1 in row 0 of the labels is out of range; expected 0 to 2"),
        (IMAGES, LABELS + 1, "label 3 in row 2 of the labels is out of range; expected 0 to 2"),
    ],
)
def test_what_is_not_an_image_or_label_is_refused(
    images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        LabelledImages.of_tensors(images, labels, num_classes=3)


def test_paths_may_be_strings(digits) -> None:
    images = LabelledImages.of_dataset(str(digits))
    assert images.labels.dtype == np.int64 and images.count == 96

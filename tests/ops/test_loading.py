"""Loading and augmentation against plain slicing, padding and flipping."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pyrobust import ops
from tests import reference


def store(shape: tuple[int, int, int, int], device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).to(device)


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
@pytest.mark.parametrize("out", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "shape",
    [(9, 8, 8, 1), (9, 32, 32, 3), (9, 5, 7, 3), (9, 6, 4, 4), (9, 1, 1, 1), (9, 40, 33, 2)],
)
def test_images_are_those_of_the_reference(
    shape: tuple[int, int, int, int], out: torch.dtype, layout: str, device: str
) -> None:
    images = store(shape, device)
    index = torch.tensor([8, 0, 3, 3], device=device)
    ids = torch.tensor([0, 1, 2**40, -1], device=device)
    last = layout == "channels last"
    for padding, flip in [(0, False), (0, True), (4, False), (4, True), (50, True)]:
        for epoch in (0, 3):
            batch = ops.gather_augment(images, index, ids, 7, epoch, padding, flip, out, last)
            expected = reference.gather_augment(
                images.cpu(), index.cpu(), ids.cpu(), 7, epoch, padding, flip, out
            )
            assert torch.equal(batch.cpu(), expected)
            like = torch.channels_last if last else torch.contiguous_format
            assert batch.is_contiguous(memory_format=like)


def test_every_byte_becomes_the_nearest_number_to_its_share_of_255() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    zero = torch.zeros(1, dtype=torch.int64)
    batch = ops.gather_augment(images, zero, zero, 0, 0, 0, False)
    assert torch.equal(batch.flatten(), torch.arange(256).float() / 255)


def test_crops_and_flips_are_drawn_evenly_and_do_not_depend_on_the_batch() -> None:
    images = torch.zeros(1, 9, 9, 1, dtype=torch.uint8)
    images[0, 4, 3, 0] = 255
    count = 4000
    ids, index = torch.arange(count), torch.zeros(count, dtype=torch.int64)
    batch = ops.gather_augment(images, index, ids, 0, 0, 2, True)
    places = batch.flatten(1).argmax(1)
    counts = torch.bincount(places, minlength=81).view(9, 9)
    # Rows 2 to 6; columns 1 to 5 as they are and, mirrored, 3 to 7.
    assert counts.sum(1).nonzero().flatten().tolist() == [2, 3, 4, 5, 6]
    assert counts.sum(0).nonzero().flatten().tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert (counts.sum(1)[2:7] - count / 5).abs().max() < 5 * (count / 5) ** 0.5
    assert torch.equal(ops.gather_augment(images, index[:3], ids[[9, 1, 9]], 0, 0, 2, True),
                       batch[[9, 1, 9]])  # fmt: skip
    other = ops.gather_augment(images, index, ids, 0, 1, 2, True)
    assert not torch.equal(other, batch)


def test_a_memory_mapped_store_is_read_in_place(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, store((20, 4, 4, 3)).numpy())
    mapped = torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
    index = torch.tensor([19, 2])
    expected = store((20, 4, 4, 3))[index].permute(0, 3, 1, 2).float() / 255
    assert torch.equal(ops.gather_augment(mapped, index, index, 0, 0, 0, False), expected)


def test_empty_batches_are_taken(device: str) -> None:
    none = torch.zeros(0, dtype=torch.int64, device=device)
    batch = ops.gather_augment(store((2, 4, 4, 3), device), none, none, 0, 0, 4, True)
    assert batch.shape == (0, 3, 4, 4)


def test_wrong_arguments_are_named_with_what_was_expected() -> None:
    images, index = store((5, 4, 4, 3)), torch.tensor([0, 1])
    with pytest.raises(IndexError, match="index 1 is 5, expected 0 to 4"):
        ops.gather_augment(images, torch.tensor([0, 5]), index, 0, 0, 0, False)
    with pytest.raises(IndexError, match="index 0 is -1, expected 0 to 4"):
        ops.gather_augment(images, torch.tensor([-1, 0]), index, 0, 0, 0, False)
    with pytest.raises(TypeError, match="images is Float, expected Byte"):
        ops.gather_augment(images.float(), index, index, 0, 0, 0, False)
    with pytest.raises(ValueError, match=r"images has shape \[5, 4, 4\], expected \(N, H, W, C\)"):
        ops.gather_augment(images[..., 0], index, index, 0, 0, 0, False)
    with pytest.raises(ValueError, match="expected a contiguous store"):
        ops.gather_augment(images[:, :, ::2], index, index, 0, 0, 0, False)
    with pytest.raises(ValueError, match=r"sample_ids has shape \[1\], expected \[2\]"):
        ops.gather_augment(images, index, index[:1], 0, 0, 0, False)
    with pytest.raises(ValueError, match="padding is -1, expected 0 to"):
        ops.gather_augment(images, index, index, 0, 0, -1, False)

"""How processes share a batch."""

import pytest
import torch

from pyrobust.errors import UserError
from pyrobust.training.data_parallel import Processes


def make_processes(world_size: int) -> Processes:
    return Processes(torch.device("cpu"), rank=0, world_size=world_size)


@pytest.mark.parametrize(
    ("world_size", "batch_size", "virtual_batch", "images"),
    [(1, 1024, 0, 1024), (8, 1024, 0, 128), (8, 1024, 32, 32), (1, 1024, 32, 32), (2, 6, 3, 3)],
)
def test_a_slice_or_a_virtual_batch_is_normalized_together(
    world_size: int, batch_size: int, virtual_batch: int, images: int
) -> None:
    processes = make_processes(world_size)
    assert processes.normalized_together(batch_size, virtual_batch) == images


@pytest.mark.parametrize(
    ("world_size", "batch_size", "virtual_batch", "sentence"),
    [
        (4, 3, 0, "a batch of 3 images .* among 4 processes; use --processes 1 or 3, or "
         "--batch-size 4$"),
        (8, 50, 0, "--processes 1 or 2 or 5 or 10 or 25 or 50, or --batch-size 48 or 56$"),
        (8, 1024, 256, "of 1024 images in virtual batches of 256 .* use --processes 1 or 2 or 4, "
         "or --batch-size 2048$"),
    ],
)  # fmt: skip
def test_unequal_slices_are_refused_with_the_numbers_that_fit(
    world_size: int, batch_size: int, virtual_batch: int, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        make_processes(world_size).normalized_together(batch_size, virtual_batch)


def test_every_divisor_of_a_batch_fits() -> None:
    for fits in (1, 2, 5, 10, 25, 50):
        make_processes(fits).check_share(50)

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


def test_unequal_slices_are_refused() -> None:
    with pytest.raises(UserError, match="3 processes cannot share batches of 1024: expected"):
        make_processes(3).normalized_together(1024)
    with pytest.raises(UserError, match="of 1024 in virtual batches of 256"):
        make_processes(8).normalized_together(1024, 256)

"""A batch depends on its number alone, and on a GPU its copies hold up no kernel."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pyrobust.training.batches import BatchPlan
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loader import Augmentation, Loader, TrainingBatch


def store(count: int, seed: int) -> Any:
    """Return random images with the interface of a sample store."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    labels = random.integers(0, 5, count)
    return SimpleNamespace(
        count=count,
        image_shape=(4, 4, 3),
        class_names=tuple("abcde"),
        blocks=lambda size: [(0, images)],
        gather=lambda index: images[index],
        labels=lambda kind: labels.astype(kind),
    )


def make_loader(device: str, resident_bytes: int) -> Loader:
    return Loader(
        BatchPlan(8, 0.5, 20, 30, seed=0),
        store(20, 0),
        store(30, 1),
        Augmentation(1, True),
        smoothing=(0.0, 0.1),
        processes=Processes(torch.device(device)),
        resident_bytes=resident_bytes,
        channels_last=False,
    )


def assert_equal(ours: TrainingBatch, theirs: TrainingBatch) -> None:
    for name in ("x", "labels", "target_probs", "positions"):
        assert torch.equal(getattr(ours, name).cpu(), getattr(theirs, name).cpu()), name


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("resident_bytes", [0, 1 << 20])
def test_batches_are_the_same_wherever_the_images_lie(device: str, resident_bytes: int) -> None:
    loader, reference = make_loader(device, resident_bytes), make_loader("cpu", 1 << 20)
    batches = [loader.batch(step) for step in range(20)]
    for step in (0, 7, 19):
        assert_equal(batches[step], reference.batch(step))


@pytest.mark.gpu
@pytest.mark.parametrize("resident_bytes", [0, 1 << 20])
def test_batches_need_no_synchronisation(resident_bytes: int) -> None:
    loader, reference = make_loader("cuda", resident_bytes), make_loader("cpu", 1 << 20)
    busy = torch.rand(4096, 4096, device="cuda")
    loader.batch(0)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = []
        for step in range(1, 9):
            for _ in range(10):
                busy = busy @ busy
            batches.append(loader.batch(step))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for step, batch in enumerate(batches, start=1):
        assert_equal(batch, reference.batch(step))

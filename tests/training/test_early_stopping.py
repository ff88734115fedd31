"""Validation: PGD-40 on every image, shared among processes, stopped within a pass."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.pgd import AscentSettings, pgd, pgd40
from pyrobust.attacks.threat_model import ThreatModel
from pyrobust.config.data import DatasetSettings
from pyrobust.data.dataset import Dataset
from pyrobust.models import ImageClassifier
from pyrobust.training.classifier import TrainingInputs, new_model
from pyrobust.training.data_parallel import Processes
from pyrobust.training.early_stopping import RobustValidation
from pyrobust.training.overfitting import GapValidation
from pyrobust.training.train_labeller import accuracy

ATTACK = pgd40(ThreatModel("linf", 0.01))
CPU = torch.device("cpu")


class Share(Processes):
    """One of several processes, whose sums are its own part."""

    def sum(self, values: Tensor) -> Tensor:
        return values


@pytest.fixture(scope="module")
def model(digits: Path) -> ImageClassifier:
    spec = TrainingInputs.open(digits).spec("wrn-10-1", "silu")
    return new_model(spec, 0, zero_logits=False, channels_last=True, device=CPU)


def make_validation(
    digits: Path, processes: Processes, batch_size: int = 25, attack: AscentSettings = ATTACK
) -> RobustValidation:
    return RobustValidation(Dataset.open(digits).validation, attack, batch_size, 3, processes)


def test_it_counts_the_robust_images_after_forty_steps(
    digits: Path, model: ImageClassifier
) -> None:
    assert (ATTACK.num_steps, ATTACK.optimizer) == (40, "adam")
    assert DatasetSettings(layout="digits").validation_size == 1024
    store = Dataset.open(digits).validation
    ids = torch.arange(store.count)
    labels = torch.from_numpy(store.labels())
    x = ops.gather_augment(torch.from_numpy(store.images()), ids, ids, 0, 0, 0, False)
    stands = model(x).argmax(1) == labels
    x_adv = pgd(model, x, labels, ids, ATTACK, seed=3)
    metrics = make_validation(digits, Processes(CPU))(model)
    assert metrics is not None
    assert metrics["clean_accuracy"] == pytest.approx(stands.float().mean().item())
    robust = stands & (model(x_adv).argmax(1) == labels)
    assert metrics["robust_accuracy"] == pytest.approx(robust.float().mean().item())


@pytest.mark.parametrize("world_size", [3, 64])
def test_processes_share_the_images_and_find_the_same(
    world_size: int, digits: Path, model: ImageClassifier
) -> None:
    whole = make_validation(digits, Processes(CPU))(model)
    parts = [
        make_validation(digits, Share(CPU, rank, world_size))(model) for rank in range(world_size)
    ]
    assert whole is not None
    for name, value in whole.items():
        assert sum(part[name] for part in parts if part) == pytest.approx(value)


def test_it_stops_between_two_passes(digits: Path, model: ImageClassifier) -> None:
    asked = itertools.count()
    validation = make_validation(digits, Processes(CPU))
    assert validation(model, lambda: next(asked) == 5) is None
    assert next(asked) == 6


def test_logits_that_are_not_finite_are_neither_correct_nor_robust(digits: Path) -> None:
    class Nan(ImageClassifier):
        def forward(self, x: Tensor) -> Tensor:
            """Return what argmax reads as class 0."""
            return (x.sum((1, 2, 3)) * float("nan"))[:, None].expand(-1, 10)

    metrics = make_validation(digits, Processes(CPU))(Nan((0.5,), (0.5,)))
    assert metrics == {"clean_accuracy": 0.0, "robust_accuracy": 0.0}
    store = Dataset.open(digits).validation
    assert accuracy(Nan((0.5,), (0.5,)), store, CPU) == 0


def test_the_gap_is_measured_on_the_first_images_with_both_sets_of_weights(
    digits: Path, model: ImageClassifier
) -> None:
    spec = TrainingInputs.open(digits).spec("wrn-10-1", "silu")
    live = new_model(spec, 1, zero_logits=False, channels_last=True, device=CPU)
    dataset, processes = Dataset.open(digits), Processes(CPU)
    whole = make_validation(digits, processes)
    parts = [
        RobustValidation(store, ATTACK, 25, 3, processes, num_images=20)
        for store in (dataset.train, dataset.validation)
    ]
    metrics = GapValidation(whole, *parts, live)(model)
    assert metrics is not None
    expected = {"": whole(model), "train_": parts[0](model)}
    expected |= {"live_": parts[1](live), "live_train_": parts[0](live)}
    assert metrics == {
        f"{prefix}{name}": value
        for prefix, found in expected.items()
        for name, value in (found or {}).items()
    }
    x = torch.from_numpy(dataset.train.images()[:20])
    ids = torch.arange(20)
    right = model(ops.gather_augment(x, ids, ids, 0, 0, 0, False)).argmax(1)
    labels = torch.from_numpy(dataset.train.labels()[:20])
    assert metrics["train_clean_accuracy"] == pytest.approx((right == labels).float().mean().item())
    asked = itertools.count()
    calls = 3 * 41  # stops within the measurements that follow the first
    assert GapValidation(whole, *parts, live)(model, lambda: next(asked) > calls) is None

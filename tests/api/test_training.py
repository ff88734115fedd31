"""Any classifier is trained from memory, by the code and with the results of the command line."""

import copy
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import pyrobust
from pyrobust.api.training import warn_of_decline
from pyrobust.cli import app
from pyrobust.config.data import DatasetSettings
from pyrobust.data.dataset import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.files import sha256_of
from pyrobust.training.objectives.trades import Trades

QUICK: dict[str, Any] = {
    "norm": "linf",
    "epsilon": "0.1",
    "epochs": 1,
    "batch_size": 16,
    "attack_steps": 2,
    "validations": 1,
    "gap_images": 0,
    "crop_padding": 0,
    "flip": False,
    "device": "cpu",
}


def stripes(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return images (count, 1, 8, 8) in [0, 1] of horizontal or vertical stripes, with labels."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.2 * torch.rand(count, 1, 8, 8, generator=generator)
    labels = torch.arange(count) % 2
    images[labels == 0, :, ::2] += 0.7
    images[labels == 1, :, :, ::2] += 0.7
    return images, labels


class Net(nn.Module):
    """A small network with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(512, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.stem(x))).flatten(1))


def make_net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


class Stopping(Trades):
    """Asks the process to stop at the third step, as a scheduler does, unless told not to."""

    stop = True
    calls = 0

    def attack(self, batch: Any, passes: Any) -> Tensor:
        Stopping.calls += 1
        if Stopping.stop and Stopping.calls == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().attack(batch, passes)


def same(one: nn.Module, other: nn.Module) -> bool:
    """Return whether all weights and statistics are equal."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_network_of_the_user_learns_to_withstand_the_attack(tmp_path: Path) -> None:
    network, before = make_net(), make_net()
    images, labels = stripes(200)
    options = {**QUICK, "epochs": 4, "validations": 3}
    trained = pyrobust.train(network, images, labels, **options)
    assert same(network, before) and network.training
    assert isinstance(trained.network, Net) and not same(trained.network, before)
    assert type(trained.network.norm) is nn.BatchNorm2d
    test_images, test_labels = stripes(40, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(trained.network(test_images), trained.model(test_images))
    result = trained.evaluate(test_images, test_labels, attack="fast")
    untrained = pyrobust.evaluate(
        before, test_images, test_labels, norm="linf", epsilon="0.1", attack="fast"
    )
    assert (result.summary["norm"], result.summary["epsilon"]) == ("linf", "0.1")
    assert result.robust_accuracy > max(0.9, untrained.robust_accuracy)
    assert len(trained.history) == 3 and trained.robust_accuracy > 0.9
    assert trained.record["validation"]["num_images"] == 20
    assert trained.record["num_original"] == trained.record["settings"]["epoch_size"] == 180
    assert "Net, trained with trades, linf 0.1: clean 100.0 %" in repr(trained)
    assert trained.log[0]["step"] == 10

    trained.save(tmp_path / "saved")
    again = pyrobust.TrainedClassifier.load(str(tmp_path / "saved"), Net())
    assert same(again.network, trained.network) and again.record == trained.record
    weights = tmp_path / "saved/model.safetensors"
    loaded = pyrobust.load(Net(), (1, 8, 8), weights=weights)
    with torch.no_grad():
        torch.testing.assert_close(loaded(test_images), again.model(test_images))

    folder = trained.publish(tmp_path / "hub", result, name="Stripes", license_name="mit")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert 'pyrobust.load(network, weights="model.safetensors"' in card
    assert "weights of a `Net`, not its code. Construct the class that was trained" in card
    assert str(Net()) in card
    assert sha256_of(folder / "model.safetensors") == sha256_of(weights)
    with pytest.raises(pyrobust.UserError, match="evaluated other weights"):
        trained.publish(tmp_path / "other", untrained, name="Stripes")


def test_python_and_the_command_line_train_the_same_weights(tmp_path: Path) -> None:
    settings = DatasetSettings(
        layout="digits", validation_size=60, test_size=1400, crop_padding=1, flip=False
    )
    make_dataset("digits", tmp_path, tmp_path / "digits", settings)
    dataset = Dataset.open(tmp_path / "digits")
    options = {**QUICK, "epoch_size": 48}
    flags = [
        "train", "--dataset", tmp_path / "digits", "--output", tmp_path / "run", "--architecture",
        "wrn-10-1", "--epsilon", "0.1", "--epochs", "1", "--epoch-size", "48", "--batch-size",
        "16", "--attack-steps", "2", "--validations", "1", "--gap-images", "0",
        "--mixing-factor", "1", "--device", "cpu",
    ]  # fmt: skip
    app([str(flag) for flag in flags], standalone_mode=False)
    line = pyrobust.TrainedClassifier.load(tmp_path / "run")

    def tensors(split: Any) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(split.images()).permute(0, 3, 1, 2), torch.from_numpy(
            split.labels()
        )

    in_folder = {k: v for k, v in options.items() if k not in ("crop_padding", "flip")}
    of_folder = pyrobust.train("wrn-10-1", str(tmp_path / "digits"), **in_folder)
    images, labels = tensors(dataset.train)
    of_memory = pyrobust.train(
        "wrn-10-1",
        images.double() / 255,
        labels,
        validation=tensors(dataset.validation),
        **{**options, "crop_padding": 1},
    )
    assert same(line.model, of_folder.model) and same(line.model, of_memory.model)
    assert line.record["settings"] == of_folder.record["settings"]
    assert line.spec == of_memory.spec


@pytest.mark.parametrize("form", ["loader", "dataset", "arrays", "uint8"])
def test_images_come_from_anywhere(form: str) -> None:
    images, labels = stripes(40)
    images = (images * 255).round() / 255
    data = TensorDataset(images, labels)
    sources: dict[str, tuple[Any, ...]] = {
        "loader": (DataLoader(data, batch_size=7),),
        "dataset": (data,),
        "arrays": (images.numpy(), labels.numpy().astype(np.int32)),
        "uint8": ((images * 255).round().to(torch.uint8), labels),
    }
    expected = pyrobust.train(make_net(), images, labels, **QUICK)
    found = pyrobust.train(make_net(), *sources[form], **QUICK)
    assert same(found.model, expected.model)


def test_generated_images_are_mixed_in_and_a_generator_is_fitted_in_python(
    tmp_path: Path,
) -> None:
    images, labels = stripes(60)
    generator = pyrobust.fit_generator(
        "gaussian", images, labels, output=str(tmp_path / "gaussian"), device="cpu"
    )
    generated, classes = pyrobust.sample(generator, 30)
    options = {**QUICK, "mixing_factor": 0.5}
    trained = pyrobust.train(
        make_net(), images, labels, generated=generated, generated_labels=classes, **options
    )
    assert trained.record["num_generated"] == 30
    assert trained.record["num_original"] == 54
    pairs = TensorDataset(generated.float() / 255, classes)
    again = pyrobust.train(make_net(), images, labels, generated=DataLoader(pairs), **options)
    assert same(again.model, trained.model)
    alone = pyrobust.train(make_net(), images, labels, **QUICK)
    assert not same(alone.model, trained.model)


def test_a_normalised_network_sees_normalised_pixels() -> None:
    images, labels = stripes(40)
    plain = pyrobust.train(make_net(), images, labels, **QUICK)
    shifted = pyrobust.train(make_net(), images, labels, mean=0.5, std=0.25, **QUICK)
    assert plain.spec.normalization == ((0.0,), (1.0,))
    assert shifted.spec.normalization == ((0.5,), (0.25,))
    assert not same(plain.model, shifted.model)
    with torch.no_grad():
        torch.testing.assert_close(
            shifted.model(images), shifted.network((images - 0.5) / 0.25), rtol=1e-4, atol=1e-4
        )


def test_a_stopped_call_resumes_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = stripes(100)
    monkeypatch.setattr(Stopping, "stop", False)
    whole = pyrobust.train(make_net(), images, labels, objective=Stopping, **QUICK)
    assert whole.record["settings"]["objective"].endswith(":Stopping")
    assert len(whole.record["own_code"]["objective"]) == 64
    steps = Stopping.calls
    monkeypatch.setattr(Stopping, "stop", True)
    monkeypatch.setattr(Stopping, "calls", 0)
    options = {**QUICK, "objective": Stopping, "output": tmp_path / "run"}
    with pytest.raises(SystemExit):
        pyrobust.train(make_net(), images, labels, **options)
    resumed = pyrobust.train(make_net(), images, labels, **options)
    assert Stopping.calls == steps
    assert same(resumed.model, whole.model)
    monkeypatch.setattr(Stopping, "calls", 0)
    again = pyrobust.train(make_net(), images, labels, **options)
    assert Stopping.calls == 0
    assert again.record == resumed.record
    assert same(again.model, whole.model)
    for changed in ({"seed": 3}, {"network": nn.Sequential(nn.Flatten(), nn.Linear(64, 2))}):
        given = {"network": make_net(), "images": images, **options, **changed}
        with pytest.raises(pyrobust.UserError, match=f"another finished.*{next(iter(changed))}"):
            pyrobust.train(labels=labels, **given)
    with pytest.raises(pyrobust.UserError, match=r"another finished .*inputs\.dataset"):
        pyrobust.train(make_net(), 1 - images, labels, **options)
    (tmp_path / "run/model.safetensors").unlink()
    with pytest.raises(pyrobust.UserError, match=r"a finished training, but no model\.safetensors"):
        pyrobust.train(make_net(), images, labels, **options)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epsilon": 8}, "epsilon is 8.*at most 1"),
        ({"norm": "l3"}, "norm is 'l3'"),
        ({"norm": "l2", "epsilon": 128}, r"epsilon is 128.* at most 8 apart in l2"),
        ({"epochs": 0}, "epochs is 0"),
        ({"steps": 3}, "unknown setting 'steps'"),
        ({"images": stripes(40)[0] * 255}, r"pixels range from .* must be in \[0, 1\]"),
        ({"labels": None}, "labels are missing"),
        ({"labels": 2 * stripes(40)[1]}, "class 1 .* has no images"),
        ({"network": 3}, "network is a int, expected a torch.nn.Module"),
        ({"network": "resnet-19"}, "architecture is 'resnet-19'"),
        ({"network": nn.Flatten()}, r"returns \(2, 64\) for 2 images"),
        ({"network": make_net().requires_grad_(False)}, "has no parameters to train"),
        ({"architecture": "resnet-18"}, "architecture"),
        ({"validation": 39}, "validation_size is 39, but only 40 images"),
        ({"validation": stripes(4)[0]}, "labels are missing"),
        ({"validation": (torch.rand(2, 1, 9, 9), torch.arange(2))}, "validation images have shape"),
        ({"generated": torch.rand(4, 1, 8, 8)}, "labels are missing"),
        ({"generated": (torch.rand(4, 3, 8, 8)), "generated_labels": torch.arange(4) % 2},
         "generated images have shape"),
        ({"generated": "nowhere"}, "nowhere"),
        ({"mixing_factor": 0.5}, "generated"),
        ({"mean": 0.5}, "std"),
        ({"trackers": "tensorboard"}, "give output"),
        ({"trackers": "comet", "output": "run"}, "unknown tracker 'comet'"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"objective": lambda settings: None}, "objective is .*at the top of a module"),
        ({"images": "nowhere", "labels": None}, "nowhere"),
        ({"images": [(torch.rand(1, 8, 8), 0), (torch.rand(1, 9, 9), 1)], "labels": None},
         r"image 1 has shape \(1, 9, 9\)"),
        ({"batch_size": 1, "network": nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 2))}, "batch norm has one value"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)  # fmt: skip
def test_a_mistake_is_one_sentence(
    changed: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images, labels = stripes(40)
    given = {"network": make_net(), "images": images, "labels": labels, **QUICK, **changed}
    with pytest.raises(pyrobust.UserError, match=message):
        pyrobust.train(**copy.copy(given))
    assert not list(tmp_path.glob("**/training.json"))


@pytest.mark.parametrize(("accuracies", "warned"), [((0.9, 0.4), True), ((0.4, 0.9), False)])
def test_a_training_that_makes_a_network_worse_is_warned_about(
    accuracies: tuple[float, float], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_decline([{"robust_accuracy": accuracy} for accuracy in accuracies])
    assert ("fell from 90.0 % at the first validation" in caplog.text) == warned

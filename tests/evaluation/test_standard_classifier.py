"""The non-robust classifier that the public AutoAttack brings along, on real CIFAR-10 images.

At linf 8/255 nothing of it stands; at a radius where a part of it stands, ours and the public
attack leave the same.
"""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pyautoattack
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from pyrobust import ops
from pyrobust.attacks import ApgdSettings, ThreatModel, apgd, pgd, pgd40
from pyrobust.cli import app
from pyrobust.files import read_json
from tests.attacks.public import public_walk

NUM_IMAGES = 24
EXAMPLES = Path(pyautoattack.__file__).parent / "examples"


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    definition = importlib.util.spec_from_file_location("resnet", EXAMPLES / "resnet.py")
    assert definition is not None and definition.loader is not None
    module = importlib.util.module_from_spec(definition)
    definition.loader.exec_module(module)
    network: nn.Module = module.ResNet18()
    network.load_state_dict(torch.load(EXAMPLES / "model_test.pt", "cpu", weights_only=True))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images(cifar10_parquet: Path) -> tuple[Tensor, Tensor]:
    (path,) = cifar10_parquet.rglob("*test*.parquet")
    rows = pq.read_table(path).slice(0, NUM_IMAGES).to_pylist()
    pixels = [np.asarray(Image.open(io.BytesIO(row["img"]["bytes"]))) for row in rows]
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous().float() / 255
    return x, torch.tensor([row["label"] for row in rows])


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
def test_apgd_leaves_nothing_standing(
    loss: str, classifier: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    x, labels = images
    assert (classifier(x).argmax(1) == labels).sum() > NUM_IMAGES // 2
    settings = ApgdSettings(ThreatModel("linf", 8 / 255), loss, 10, 1)
    x_adv = apgd(classifier, x, labels, torch.arange(len(x)), settings, 0)
    assert settings.threat.contains(x_adv, x).all()
    assert (classifier(x_adv).argmax(1) != labels).all()


def test_pgd40_leaves_nothing_standing(
    classifier: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    x, labels = images
    settings = pgd40(ThreatModel("linf", 8 / 255))
    x_adv = pgd(classifier, x, labels, torch.arange(len(x)), settings, 0)
    assert (classifier(x_adv).argmax(1) != labels).all()


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross_entropy", "dlr"])
def test_robust_accuracy_is_that_of_the_public_attack(
    loss: str, classifier: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    x, labels = images
    right = torch.nonzero(classifier(x).argmax(1) == labels).flatten()
    x, labels = x[right], labels[right]
    settings = ApgdSettings(ThreatModel("linf", 0.5 / 255), loss, 10, 1)
    start = ops.random_start(x, right, settings.threat.epsilon, "linf", 0, 0, on_boundary=True)
    theirs, _ = public_walk(classifier, x, labels, start, settings)
    ours = classifier(apgd(classifier, x, labels, right, settings, 0)).argmax(1) == labels
    assert 0 < theirs.sum() < len(right), "the case tells nothing"
    # Sums of other orders round otherwise, and now and then an image falls one step later.
    assert (ours != theirs).sum() <= 1


@pytest.mark.slow
def test_the_whole_verb_leaves_nothing_standing(
    cifar10_parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw" / "cifar10"
    raw.mkdir(parents=True)
    for split, count in (("train", 200), ("test", NUM_IMAGES)):
        (path,) = cifar10_parquet.rglob(f"{split}-*.parquet")
        pq.write_table(pq.read_table(path).slice(0, count), raw / path.name)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    small = ["--apgd-ce-steps", "10", "--apgd-ce-restarts", "1", "--apgd-dlr-steps", "10"]
    verbs = [
        ["dataset", "cifar10", "--data-root", raw.parent, "--validation-size", "10"],
        ["evaluate", "--model", "resnet:ResNet18", "--weights", EXAMPLES / "model_test.pt"],
    ]
    verbs[0] += ["--output", tmp_path / "cifar10"]
    verbs[1] += ["--dataset", tmp_path / "cifar10", "--norm", "linf", "--epsilon", "8/255"]
    verbs[1] += [
        *small,
        "--num-images",
        "12",
        "--pass-size",
        "12",
        "--output",
        tmp_path / "evaluation",
    ]
    for verb in verbs:
        result = CliRunner().invoke(app, [str(word) for word in verb], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    found = read_json(tmp_path / "evaluation" / "evaluation.json", "")
    assert (found["dataset"], found["num_images"]) == ("cifar10", 12)
    assert found["clean_accuracy"] > 0.7
    assert found["robust_accuracy"] == found["stages"][-1]["num_standing"] == 0
    assert all(check["passed"] for check in found["checks"]), found["checks"]

"""Training on interval bounds: the loss by hand, its ramp, refusals, and what it is for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust.attacks import ThreatModel
from pyrobust.certificates.certify import certified_margins
from pyrobust.certificates.graph import graph_of
from pyrobust.config import parse_settings
from pyrobust.config.data import DatasetSettings
from pyrobust.config.training import TrainSettings
from pyrobust.data import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.errors import UserError
from pyrobust.models.files import load_model
from pyrobust.models.small_cnn import SmallCnn
from pyrobust.training.objectives import make_objective
from pyrobust.training.runtime import Runtime
from pyrobust.training.train_robust import train_robust

CNN = "pyrobust.models.small_cnn:SmallCnn(side=8, in_channels=1)"


def settings(**changes: Any) -> TrainSettings:
    values = {"objective": "ibp", "norm": "linf", "epsilon": "0.1", "architecture": CNN,
              "epochs": 1, "epoch_size": 1000, "batch_size": 10, "warmup": 0.1,
              "ibp_ramp": 0.4, "mixing_factor": 1, **changes}  # fmt: skip
    return parse_settings(TrainSettings, values)


def bounds_by_hand(network: SmallCnn, x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return lower and upper logits, layer by layer from positive and negative weights."""
    lower, upper = (x - epsilon).clamp(0, 1), (x + epsilon).clamp(0, 1)
    for layer in network.layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            up, down = layer.weight.clamp_min(0), layer.weight.clamp_max(0)

            def apply(
                value: Tensor, weight: Tensor, bias: Tensor | None, layer: Any = layer
            ) -> Tensor:
                if isinstance(layer, nn.Linear):
                    return F.linear(value, weight, bias)
                return F.conv2d(value, weight, bias, layer.stride, layer.padding)

            lower, upper = (
                apply(lower, up, layer.bias) + apply(upper, down, None),
                apply(upper, up, layer.bias) + apply(lower, down, None),
            )
        else:
            lower, upper = layer(lower), layer(upper)
    return lower, upper


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (10, 0.0), (30, 0.5), (50, 1.0), (99, 1.0)])
def test_the_loss_and_its_gradients_are_those_by_hand(step: int, share: float) -> None:
    torch.manual_seed(0)
    network = SmallCnn(5, side=8, in_channels=1, width=4)
    x, labels = torch.rand(6, 1, 8, 8), torch.arange(6) % 5
    batch: Any = SimpleNamespace(x=x, labels=labels, target_probs=F.one_hot(labels, 5).float())
    passes: Any = SimpleNamespace(
        network=network, step=step, logits=lambda images, tracked: network(images)
    )
    loss = make_objective(settings()).loss(batch, x, passes)
    grads = loss.gradients_of(list(network.parameters()))

    lower, upper = bounds_by_hand(network, x, 0.1 * share)
    worst = torch.where(F.one_hot(labels, 5).bool(), lower, upper)
    kappa = 1 - 0.5 * share
    expected = kappa * F.cross_entropy(network(x), labels)
    expected = expected + (1 - kappa) * F.cross_entropy(worst, labels)
    torch.testing.assert_close(loss.metrics["loss"], expected.detach())
    by_hand = torch.autograd.grad(expected, list(network.parameters()))
    for ours, theirs in zip(grads, by_hand, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "l2"}, "objective ibp trains for linf, but norm is 'l2'"),
        ({"attack_steps": 3}, "attack_steps is 3 but has no effect: objective is ibp"),
        ({"trades_beta": 3.0}, "trades_beta is 3.0 but has no effect"),
        ({"objective": "mart", "ibp_ramp": 0.1}, "ibp_ramp is 0.1 but has no effect"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_objective(settings(**changes))


def test_networks_with_batch_norm_are_refused(digits: Path, tmp_path: Path) -> None:
    chosen = settings(architecture="wrn-10-1", epoch_size=20, validations=1, gap_images=0)
    with pytest.raises(UserError, match="needs a network without batch norm"):
        train_robust(digits, None, tmp_path, chosen, Runtime(device="cpu", trackers=()))


def test_a_short_training_certifies_most_digits(tmp_path: Path) -> None:
    data = DatasetSettings(
        layout="digits", validation_size=50, test_size=200, crop_padding=0, flip=False
    )
    make_dataset("digits", Path("none"), tmp_path / "data", data)
    chosen = settings(
        epsilon="8/255", epoch_size=64 * 200, batch_size=64, label_smoothing=0, zero_logits=False,
        validations=1, gap_images=0,
    )  # fmt: skip
    runtime = Runtime(device="cpu", trackers=())
    train_robust(tmp_path / "data", None, tmp_path / "run", chosen, runtime)
    model, _ = load_model(tmp_path / "run/model.safetensors", "cpu")
    test = Dataset.open(tmp_path / "data").test
    x = torch.from_numpy(test.images()).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(test.labels())
    graph = graph_of(model.requires_grad_(False), x[:1])
    threat = ThreatModel("linf", 8 / 255)
    certified = certified_margins(graph, x, labels, threat, "crown_ibp") > 0
    assert certified.float().mean() > 0.7

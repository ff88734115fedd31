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
from pyrobust.certificates.graph_reader import graph_of
from pyrobust.config import parse_settings
from pyrobust.config.data import DatasetSettings
from pyrobust.config.training import TrainSettings
from pyrobust.data import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.errors import UserError
from pyrobust.models.batch_norm import BatchNorm, recorded_statistics
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


def bounds_by_hand(
    layers: nn.Sequential, x: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return clean, lower and upper logits, layer by layer from positive and negative weights."""
    clean, lower, upper = x, (x - epsilon).clamp(0, 1), (x + epsilon).clamp(0, 1)
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            mean = clean.mean((0, 2, 3), keepdim=True)
            spread = ((clean - mean).square().mean((0, 2, 3), keepdim=True) + layer.eps).sqrt()
            weight, bias = layer.weight.view(-1, 1, 1), layer.bias.view(-1, 1, 1)
            clean, one, other = (
                (value - mean) / spread * weight + bias for value in (clean, lower, upper)
            )
            lower, upper = torch.minimum(one, other), torch.maximum(one, other)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            up, down = layer.weight.clamp_min(0), layer.weight.clamp_max(0)

            def apply(
                value: Tensor, weight: Tensor, bias: Tensor | None, layer: Any = layer
            ) -> Tensor:
                if isinstance(layer, nn.Linear):
                    return F.linear(value, weight, bias)
                return F.conv2d(value, weight, bias, layer.stride, layer.padding)

            clean = layer(clean)
            lower, upper = (
                apply(lower, up, layer.bias) + apply(upper, down, None),
                apply(upper, up, layer.bias) + apply(lower, down, None),
            )
        else:
            clean, lower, upper = layer(clean), layer(lower), layer(upper)
    return clean, lower, upper


def with_batch_norm() -> nn.Sequential:
    """Return a network in training mode whose scales have both signs."""
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), BatchNorm(4), nn.ReLU(), nn.Conv2d(4, 3, 3, 2),
        nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 5),
    )  # fmt: skip
    nn.init.normal_(layers[1].weight)
    nn.init.normal_(layers[4].weight)
    return layers


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (10, 0.0), (30, 0.5), (50, 1.0), (99, 1.0)])
def test_the_loss_and_its_gradients_are_those_by_hand(
    step: int, share: float, normed: bool
) -> None:
    torch.manual_seed(0)
    network = with_batch_norm() if normed else SmallCnn(5, side=8, in_channels=1, width=4).layers
    x, labels = torch.rand(6, 1, 8, 8), torch.arange(6) % 5
    batch: Any = SimpleNamespace(x=x, labels=labels, target_probs=F.one_hot(labels, 5).float())
    passes: Any = SimpleNamespace(
        network=network, step=step, logits=lambda images, tracked: network(images)
    )
    loss = make_objective(settings()).loss(batch, x, passes)
    grads = loss.gradients_of(list(network.parameters()))

    clean, lower, upper = bounds_by_hand(network, x, 0.1 * share)
    worst = torch.where(F.one_hot(labels, 5).bool(), lower, upper)
    kappa = 1 - 0.5 * share
    expected = kappa * F.cross_entropy(clean, labels)
    expected = expected + (1 - kappa) * F.cross_entropy(worst, labels)
    torch.testing.assert_close(loss.metrics["loss"], expected.detach())
    by_hand = torch.autograd.grad(expected, list(network.parameters()))
    for ours, theirs in zip(grads, by_hand, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "l2"}, "objective ibp trains for linf, but norm is 'l2'"),
        ({"virtual_batch": 5}, "virtual_batch is 5, but objective ibp"),
        ({"attack_steps": 3}, "attack_steps is 3 but has no effect: objective is ibp"),
        ({"trades_beta": 3.0}, "trades_beta is 3.0 but has no effect"),
        ({"objective": "mart", "ibp_ramp": 0.1}, "ibp_ramp is 0.1 but has no effect"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_objective(settings(**changes))


def test_a_batch_norm_layer_in_two_places_is_refused() -> None:
    norm = nn.BatchNorm2d(1)
    with (
        pytest.raises(UserError, match="batch-norm layer twice"),
        recorded_statistics(nn.Sequential(norm)),
    ):
        norm(norm(torch.rand(4, 1, 2, 2)))
    assert not norm._forward_pre_hooks


@pytest.mark.parametrize(
    ("architecture", "steps", "learning_rate", "share"),
    [(CNN, 200, 0.1, 0.7), ("wrn-10-1", 5, 1e-4, 0.0)],
)
def test_a_short_training_certifies_digits(
    architecture: str, steps: int, learning_rate: float, share: float, tmp_path: Path
) -> None:
    data = DatasetSettings(
        layout="digits", validation_size=50, test_size=200, crop_padding=0, flip=False
    )
    make_dataset("digits", Path("none"), tmp_path / "data", data)
    chosen = settings(
        architecture=architecture, learning_rate=learning_rate, epsilon="8/255",
        epoch_size=64 * steps, batch_size=64, label_smoothing=0, zero_logits=False,
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
    assert certified.float().mean() >= share

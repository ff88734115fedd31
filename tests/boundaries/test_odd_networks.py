"""Odd networks in memory, loaded and trained: their plain twin, or one sentence."""

import copy
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pyrobust
from pyrobust.errors import UserError

X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 3


class Linear(nn.Module):
    """A linear classifier of 16 pixels into 3 classes, as `answer` returns it."""

    def __init__(self, answer: Callable[[Tensor], Any] = lambda logits: logits) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)
        with torch.no_grad():
            self.linear.weight.copy_(torch.linspace(-3, 3, 48).view(3, 16).sin())
            self.linear.bias.zero_()
        self.answer, self.scale = answer, 1.0

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.linear(x.flatten(1)) * self.scale)


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), Linear().linear)


TWINS: dict[str, Callable[[], Any]] = {
    "scripted": lambda: torch.jit.script(layers()),
    "traced": lambda: torch.jit.trace(layers(), X[:2]),  # type: ignore[no-untyped-call]
    "symbolically traced": lambda: torch.fx.symbolic_trace(layers()),
    "parallel": lambda: nn.DataParallel(layers()),
    "partial": lambda: functools.partial(lambda network, x: network(x), layers()),
    "method": lambda: layers().forward,
    "quantised": lambda: torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
        layers(), {nn.Linear}
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_wrapped_networks_compute_what_their_plain_twin_does(name: str) -> None:
    network = TWINS[name]()
    found = pyrobust.load(network, (1, 4, 4), device="cpu")(X)
    close = {"rtol": 0.0, "atol": 0.1 if name == "quantised" else 1e-6}
    torch.testing.assert_close(found, layers()(X), **close)
    assert pyrobust.evaluate(
        network, X[:2], Y[:2], norm="linf", epsilon=0.01, attack="pgd40", device="cpu"
    ).rows["clean_prediction"].to_pylist() == found[:2].argmax(1).tolist()  # fmt: skip


@pytest.mark.parametrize(
    "network", [nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), layers().to("meta")]
)
def test_weights_without_values_are_named(network: nn.Module) -> None:
    for use in (
        lambda: pyrobust.load(network, (1, 4, 4), device="cpu"),
        lambda: train(network),
    ):
        with pytest.raises(UserError, match=r"has no values in 1\.weight; load its weights"):
            use()


def train(network: nn.Module, **more: Any) -> pyrobust.TrainedClassifier:
    return pyrobust.train(
        network, X, Y, norm="linf", epsilon=0.01, epochs=1, batch_size=8, attack_steps=1,
        validations=1, crop_padding=0, flip=False, validation=3, device="cpu", **more
    )  # fmt: skip


class ForwardOnly(torch.autograd.Function):
    """The identity, whose author has written no gradient yet."""

    @staticmethod
    def forward(context: Any, logits: Tensor) -> Tensor:
        return logits.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda logits: (logits,), "returns tuple for 2 images, but must return logits"),
        (lambda logits: logits.double(), r"of torch.float64 .* in float32"),
        (lambda logits: (logits * 9).long(), "of torch.int64"),
        (lambda logits: logits.to_sparse(), "returns Tensor for 2 images"),
        (lambda logits: logits.detach(), "lacks gradients"),
        (lambda logits: sys.exit(3), "SystemExit in .*: 3"),
        (ForwardOnly.apply, r"lacks gradients \(NotImplementedError\)"),
        (lambda logits: logits * torch.nan, "training diverged: the loss of step 0 is nan"),
    ],
)
def test_networks_that_cannot_be_trained_are_refused(
    answer: Callable[[Tensor], Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(Linear(answer))


def test_networks_whose_copies_cannot_be_trained_are_refused() -> None:
    with pytest.raises(UserError, match="is TorchScript"):
        train(torch.jit.script(layers()))


def test_a_changed_forward_is_another_training(tmp_path: Path) -> None:
    network = Linear()
    train(network, output=tmp_path)
    train(copy.deepcopy(network), output=tmp_path)  # finished, and the same
    for scale in (-1.0, 2.0):
        network.scale = scale
        with pytest.raises(UserError, match="another finished training"):
            train(network, output=tmp_path)


class Normalizing(Linear):
    """A network with its own normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 1, 1), 0.5))
        self.register_buffer("std", torch.full((1, 1, 1), 0.25))

    def forward(self, x: Tensor) -> Any:
        return super().forward((x - self.mean) / self.std)


def test_a_normalisation_that_a_network_applies_is_not_applied_twice() -> None:
    plain = pyrobust.load(Normalizing(), (1, 4, 4), device="cpu")(X)
    again = pyrobust.load(Normalizing(), (1, 4, 4), mean=0.5, std=0.25, device="cpu")(X)
    assert torch.equal(plain, again)
    message = "the normalisation is .* according to the buffers mean and std of Normalizing, but"
    with pytest.raises(UserError, match=message):
        pyrobust.load(Normalizing(), (1, 4, 4), mean=0.4, std=0.25, device="cpu")
    with pytest.raises(UserError, match="according to the buffers of the network, but"):
        train(Normalizing(), mean=0.4, std=0.25)


def test_labels_without_their_images_are_refused() -> None:
    with pytest.raises(UserError, match="generated_labels are given without generated images"):
        train(Linear(), generated_labels=Y)


def test_images_without_channels_are_refused() -> None:
    pairs = [(image[0], int(label)) for image, label in zip(X, Y, strict=True)]
    with pytest.raises(UserError, match=r"images have shape \(24, 4, 4\), expected \(N, C, H, W\)"):
        pyrobust.evaluate(Linear(), pairs, norm="linf", epsilon=0.01)

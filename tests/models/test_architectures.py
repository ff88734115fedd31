"""The published layouts: keys, sizes, and the forward pass as the published code computes it."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.models import ModelSpec, build_model, initialize

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))


def make_spec(architecture: str, size: int = 32, channels: int = 3, **changes: object) -> ModelSpec:
    values: dict[str, object] = {
        "architecture": architecture,
        "activation": "silu",
        "num_classes": 10,
        "image_shape": (size, size, channels),
        "mean": CIFAR[0][:channels],
        "std": CIFAR[1][:channels],
    }
    return ModelSpec(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [("wrn-28-10", 36_479_194), ("resnet-18", 12_548_426), ("wrn-10-1", 77_850)],
)
def test_parameter_counts_are_those_of_the_published_models(
    architecture: str, parameters: int
) -> None:
    model = build_model(make_spec(architecture))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_wide_resnet_has_the_published_keys() -> None:
    block = [
        *(f"batchnorm_0.{name}" for name in NORM),
        "conv_0.weight",
        *(f"batchnorm_1.{name}" for name in NORM),
        "conv_1.weight",
    ]
    expected = [
        "init_conv.weight",
        *(f"layer.0.block.0.{name}" for name in [*block, "shortcut.weight"]),
        *(f"layer.1.block.0.{name}" for name in [*block, "shortcut.weight"]),
        *(f"layer.2.block.0.{name}" for name in [*block, "shortcut.weight"]),
        *(f"batchnorm.{name}" for name in NORM),
        "logits.weight",
        "logits.bias",
    ]
    assert list(build_model(make_spec("wrn-10-2")).state_dict()) == expected


def test_preact_resnet_has_the_published_keys() -> None:
    keys = build_model(make_spec("resnet-18")).state_dict()
    assert "conv_2d.weight" in keys
    assert keys["layer_1.0.conv_2d_1.weight"].shape == (128, 64, 3, 3)
    assert keys["layer_1.0.shortcut.weight"].shape == (128, 64, 3, 3)
    assert "layer_0.0.shortcut.weight" not in keys
    assert keys["layer_3.1.batchnorm_1.running_var"].shape == (512,)
    assert keys["logits.weight"].shape == (10, 512)


def published_wide_resnet(
    state: dict[str, Tensor], x: Tensor, act: Callable[..., Tensor], blocks: int
) -> Tensor:
    """Compute the published forward pass of a WideResNet with `blocks` blocks a group."""

    def norm(name: str, out: Tensor) -> Tensor:
        weights = (state[f"{name}.{key}"] for key in ("running_mean", "running_var"))
        return F.batch_norm(out, *weights, state[f"{name}.weight"], state[f"{name}.bias"])

    mean, std = (torch.tensor(values).view(3, 1, 1) for values in CIFAR)
    x = F.conv2d((x - mean) / std, state["init_conv.weight"], padding=1)
    for group in range(3):
        for block in range(blocks):
            name, stride = f"layer.{group}.block.{block}", 2 if group and not block else 1
            out = act(norm(f"{name}.batchnorm_0", x))
            shortcut = state.get(f"{name}.shortcut.weight")
            if shortcut is not None:
                x = F.conv2d(out, shortcut, stride=stride)
            padded = F.pad(out, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))
            out = F.conv2d(padded, state[f"{name}.conv_0.weight"], stride=stride)
            out = act(norm(f"{name}.batchnorm_1", out))
            x = x + F.conv2d(out, state[f"{name}.conv_1.weight"], padding=1)
    x = F.avg_pool2d(act(norm("batchnorm", x)), 8).flatten(1)
    return F.linear(x, state["logits.weight"], state["logits.bias"])


def published_preact_resnet(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Compute the published forward pass of a PreActResNet-18 with SiLU."""

    def norm(name: str, out: Tensor) -> Tensor:
        weights = (state[f"{name}.{key}"] for key in ("running_mean", "running_var"))
        return F.batch_norm(out, *weights, state[f"{name}.weight"], state[f"{name}.bias"])

    def pad(out: Tensor, stride: int) -> Tensor:
        return F.pad(out, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))

    mean, std = (torch.tensor(values).view(3, 1, 1) for values in CIFAR)
    x = F.conv2d((x - mean) / std, state["conv_2d.weight"], padding=1)
    for layer in range(4):
        for block in range(2):
            name, stride = f"layer_{layer}.{block}", 2 if layer and not block else 1
            out = F.silu(norm(f"{name}.batchnorm_0", x))
            shortcut = x
            if f"{name}.shortcut.weight" in state:
                weight = state[f"{name}.shortcut.weight"]
                shortcut = F.conv2d(pad(x, stride), weight, stride=stride)
            out = F.conv2d(pad(out, stride), state[f"{name}.conv_2d_1.weight"], stride=stride)
            out = F.silu(norm(f"{name}.batchnorm_1", out))
            x = F.conv2d(out, state[f"{name}.conv_2d_2.weight"], padding=1) + shortcut
    x = F.avg_pool2d(F.silu(norm("batchnorm", x)), 4).flatten(1)
    return F.linear(x, state["logits.weight"], state["logits.bias"])


def randomized(spec: ModelSpec) -> torch.nn.Module:
    """Return a model with random weights and random running statistics."""
    generator = torch.Generator().manual_seed(0)
    model = build_model(spec)
    initialize(model, generator, zero_logits=False)
    for name, value in model.state_dict().items():
        if "batchnorm" in name and value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return model


@pytest.mark.parametrize(
    ("architecture", "blocks", "activation"),
    [("wrn-10-2", 1, "silu"), ("wrn-10-2", 1, "relu"), ("wrn-16-1", 2, "silu")],
)
def test_wide_resnet_computes_what_the_published_code_computes(
    architecture: str, blocks: int, activation: str
) -> None:
    model = randomized(make_spec(architecture, activation=activation))
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = published_wide_resnet(model.state_dict(), x, getattr(F, activation), blocks)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


def test_preact_resnet_computes_what_the_published_code_computes() -> None:
    model = randomized(make_spec("resnet-18"))
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = published_preact_resnet(model.state_dict(), x)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "channels"), [((8, 8), 1), ((28, 28), 1), ((7, 9), 3), ((64, 64), 3), ((5, 6), 3)]
)
def test_any_image_size_gives_logits(size: tuple[int, int], channels: int) -> None:
    spec = make_spec("wrn-10-1", channels=channels, image_shape=(*size, channels))
    model = build_model(spec)
    x = torch.rand(2, channels, *size)
    assert model(x).shape == (2, 10)
    assert model.features(x).shape == (2, 64)


def test_logits_are_a_linear_map_of_the_features() -> None:
    model = randomized(make_spec("wrn-10-1"))
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(x), model.logits(model.features(x)))


def test_initial_weights_are_those_of_the_seed_and_cut_at_two_deviations() -> None:
    spec = make_spec("wrn-10-1")
    first, second = build_model(spec), build_model(spec)
    for model in (first, second.to(memory_format=torch.channels_last)):
        initialize(model, torch.Generator().manual_seed(3), zero_logits=True)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    weight = first.state_dict()["layer.0.block.0.conv_0.weight"]  # fan_in 16 × 9 = 144
    assert weight.abs().max() <= 2 / 12
    assert weight.std() == pytest.approx(0.88 / 12, rel=0.05)
    assert not first.logits.weight.any() and not first.logits.bias.any()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": "wrn-11-1"}, "depth 10, 16, 22, 28"),
        ({"architecture": "vgg-16"}, "expected wrn-DEPTH-WIDTH"),
        ({"activation": "gelu"}, "unknown activation 'gelu'; choose one of: silu, relu"),
        ({"num_classes": 1}, "num_classes is 1; at least 2 are required"),
        (
            {"mean": (0.5,)},
            r"mean \(0\.5,\) and std \(0\.2471, 0\.2435, 0\.2616\) do not match images with 3",
        ),
        (
            {"std": (0.5, 0.5, 0.0)},
            r"mean \(0\.4914, 0\.4822, 0\.4465\) and std \(0\.5, 0\.5, 0\.0\) do not match",
        ),
    ],
)
def test_a_specification_that_no_model_has_is_refused(
    changes: dict[str, object], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        make_spec(**{"architecture": "wrn-10-1", **changes})  # type: ignore[arg-type]

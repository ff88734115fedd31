"""Training networks that are not this project's: by the name of a constructor, and from Python."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError
from pyrobust.files import read_json
from pyrobust.models import ModelSpec, build_model, load_model
from pyrobust.models.batch_norm import BatchNorm, batch_statistics, tracked_statistics
from pyrobust.models.imported import ImportedClassifier, constructor_path
from pyrobust.training.classifier import new_model
from pyrobust.training.runtime import Runtime
from pyrobust.training.train_robust import train_robust
from tests.models import own_networks

OWN = "tests.models.own_networks:"
VIT = f"{OWN}Transformer(hidden_dim=16)"
CPU = torch.device("cpu")


def make_settings(architecture: str = f"{OWN}Grouped", **changes: Any) -> TrainSettings:
    values: dict[str, Any] = {
        "architecture": architecture,
        "epsilon": "0.1",
        "batch_size": 8,
        "epoch_size": 16,
        "epochs": 1,
        "attack_steps": 1,
        "validations": 1,
        "gap_images": 0,
        "mixing_factor": 1,
        "warmup": 0,
    }
    return TrainSettings(**{**values, **changes})


def train(digits: Path, output: Path, settings: TrainSettings, network: Any = None) -> None:
    runtime = Runtime(device="cpu", trackers=())
    train_robust(digits, None, output, settings, runtime, network)


def make_spec(architecture: str) -> ModelSpec:
    return ModelSpec(architecture, "silu", 10, (8, 8, 1), (0.3,), (0.4,))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "architecture", [VIT, f"{OWN}Grouped(width=6)", f"{OWN}Batched", f"{OWN}Volumetric"]
)
def test_a_constructor_trains_and_its_checkpoint_rebuilds_it(
    architecture: str, precision: str, digits: Path, tmp_path: Path
) -> None:
    train(digits, tmp_path, make_settings(architecture, precision=precision))
    record = read_json(tmp_path / "training.json", "")
    assert record["spec"]["architecture"] == architecture
    assert len(record["own_code"]["architecture"]) == 64
    model, spec = load_model(tmp_path / "model.safetensors", "cpu")
    assert spec.architecture == architecture and not model.training
    x = torch.rand(3, 1, 8, 8)
    features = model.features(x)
    assert features.shape[0] == 3 and features.dtype == torch.float32
    torch.testing.assert_close(model.logits(features), model(x))
    start = new_model(spec, 0, zero_logits=True, channels_last=True, device=CPU)
    assert not start.logits.weight.any()
    assert not torch.equal(model.logits.weight, start.logits.weight)


def test_a_name_of_a_zoo_is_that_of_its_constructor() -> None:
    assert constructor_path("torchvision:resnet18") == "torchvision.models:resnet18"
    short, long = (
        build_model(make_spec("torchvision:resnet18")),
        build_model(make_spec("torchvision.models:resnet18")),
    )
    assert list(short.state_dict()) == list(long.state_dict())


def test_a_resnet_of_torchvision_has_this_project_s_batch_norm_and_its_own_keys() -> None:
    spec = make_spec("torchvision.models:resnet18")
    ours = build_model(spec)
    assert isinstance(ours, ImportedClassifier)
    from torchvision.models import resnet18

    torch.manual_seed(0)
    theirs = resnet18(num_classes=10).eval()
    assert list(ours.network.state_dict()) == list(theirs.state_dict())
    norms = [layer for layer in ours.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms and all(isinstance(layer, BatchNorm) for layer in norms)
    ours.network.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(ours.network(x), theirs(x))


def test_networks_of_timm_train(digits: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    size = "img_size=8, patch_size=4, in_chans=1, embed_dim=8, depth=1, num_heads=2"
    for name, options in (
        ("timm.models.vision_transformer:VisionTransformer", size),
        ("timm.models:resnet18", "in_chans=1"),
        ("timm.models:test_efficientnet", "in_chans=1"),  # batch norm with an activation
    ):
        settings = make_settings(f"{name}({options})", zero_logits=False)
        train(digits, tmp_path / name.split(":")[1], settings)
        load_model(tmp_path / name.split(":")[1] / "model.safetensors", "cpu")


def test_initial_weights_are_those_of_the_seed() -> None:
    spec = make_spec(VIT)
    one, same, other = (
        new_model(spec, seed, zero_logits=False, channels_last=False, device=CPU).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_network_given_in_python_is_copied_trained_and_read_back(
    digits: Path, tmp_path: Path
) -> None:
    network = own_networks.Grouped(10)
    before = copy.deepcopy(network.state_dict())
    settings = make_settings("wrn-28-10")
    train(digits, tmp_path, settings, network)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert read_json(tmp_path / "training.json", "")["settings"]["architecture"] == "given:Grouped"
    with pytest.raises(UserError, match=r"given in Python as a Grouped .* network="):
        load_model(tmp_path / "model.safetensors", "cpu")
    model, _ = load_model(tmp_path / "model.safetensors", "cpu", own_networks.Grouped(10))
    trained = model.network.state_dict()
    assert trained.keys() == before.keys()
    assert any(not torch.equal(before[name], trained[name]) for name in before)


def test_frozen_parameters_stay(digits: Path, tmp_path: Path) -> None:
    network = own_networks.Grouped(10)
    network.stem.requires_grad_(False)
    train(digits, tmp_path, make_settings(), network)
    model, _ = load_model(tmp_path / "model.safetensors", "cpu", own_networks.Grouped(10))
    assert torch.equal(model.network.stem.weight, network.stem.weight)
    assert not torch.equal(model.network.classify.weight, network.classify.weight)


@pytest.mark.parametrize("layer", [own_networks.Normed(3), BatchNorm(3)])
def test_a_pass_moves_the_statistics_of_any_batch_norm_only_if_asked(layer: nn.Module) -> None:
    x = torch.rand(4, 3, 2, 2)
    layer.eval()
    start = layer.running_mean.clone()
    with batch_statistics(layer):
        frozen = layer(x)
    assert torch.equal(layer.running_mean, start)
    with tracked_statistics(layer, momentum=1.0):
        tracked = layer(x)
    torch.testing.assert_close(tracked, frozen)
    torch.testing.assert_close(layer.running_mean, x.mean((0, 2, 3)))
    assert not layer.training and layer(x).shape == x.shape


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": f"{OWN}Missing"}, "cannot import architecture .*Missing"),
        (
            {"architecture": "no_such_module:Net"},
            "architecture .*: .* 'pip install no_such_module'",
        ),
        ({"architecture": f"{OWN}unannotated"}, "annotated to return one"),
        ({"architecture": "os:abort"}, "neither a subclass of nn.Module"),
        ({"architecture": f"{OWN}Grouped(width=open('x'))"}, "as key=literal"),
        ({"architecture": f"{OWN}Grouped(4)"}, "as key=literal"),
        ({"architecture": f"{OWN}Grouped(depth=3)"}, "cannot construct .*TypeError"),
        ({"architecture": f"{OWN}Failing"}, "fails on images .*this network wants colour"),
        ({"architecture": f"{OWN}Unaware"}, r"returns \(2, 7\) for 2 images"),
        ({"architecture": f"{OWN}Convolutional"}, "use another extractor|--no-zero-logits"),
        ({"architecture": f"{OWN}Unused"}, "does not depend on the parameter .*spare"),
        ({"architecture": f"{OWN}synchronized"}, "shares statistics between processes"),
        ({"architecture": f"{OWN}stateless"}, "has no running statistics"),
        ({"architecture": f"{OWN}averaging_instances"}, "averages running statistics"),
        ({"architecture": f"{OWN}double"}, "is torch.float64: use float32"),
        ({"virtual_batch": 4}, "virtual_batch is 4, .* no batch norm: set it to 0"),
        ({"architecture": f"{OWN}Batched", "virtual_batch": 4}, "normalises by Normed"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    changes: dict[str, Any], told: str, digits: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=told):
        train(digits, tmp_path, make_settings(**changes))
    assert not (tmp_path / "training.json").exists()

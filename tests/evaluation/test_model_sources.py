"""Networks from elsewhere are what their files say."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from pyrobust.errors import UserError
from pyrobust.evaluation.model_sources import ModelSource, model_file, open_model
from pyrobust.models import ModelSpec, build_model, save_model
from pyrobust.models.published import NORMALIZATION

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit")

IMAGE = torch.full((1, 1, 4, 4), 0.5)

MODULE = """
from torch import nn
def tiny(num_classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes))
def torchvision_like(weights=None, **kwargs):
    return tiny(**kwargs)
def fixed():
    return tiny(4)
def trained(pretrained=False):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    network[1].weight.data[:] = 0
    network[1].bias.data[:] = 7 if pretrained else 0
    return network
def sized(inputs, num_classes=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, num_classes))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `elsewhere` and a file of weights for its networks of four classes."""
    (tmp_path / "elsewhere.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "weights.pt")
    torch.jit.script(network).save(tmp_path / "scripted.pt")
    (tmp_path / "page.pt").write_text("<html>")
    return tmp_path


def test_an_argument_that_loads_weights_counts(module: Path) -> None:
    source = ModelSource("elsewhere:trained(pretrained=True)")
    assert open_model(source, IMAGE, 4, None)(IMAGE).tolist() == [[7.0] * 4]


@pytest.mark.parametrize("name", ["tiny", "torchvision_like", "fixed", "sized(inputs=16)"])
def test_a_constructor_with_weights_is_the_scripted_network(module: Path, name: str) -> None:
    source = ModelSource(f"elsewhere:{name}", module / "weights.pt")
    network = open_model(source, IMAGE, 4, "small")
    scripted = open_model(ModelSource(str(module / "scripted.pt")), IMAGE, 4, "small")
    x = torch.rand(3, 1, 4, 4)
    torch.testing.assert_close(network(x), scripted(x))
    for opened in (network, scripted):
        assert not opened.training
        assert not any(parameter.requires_grad for parameter in opened.parameters())


def test_normalisation_is_applied(module: Path) -> None:
    source = ModelSource(str(module / "scripted.pt"))
    plain = open_model(source, IMAGE, 4, "small")
    normalised = open_model(replace(source, mean=(0.3,), std=(0.5,)), IMAGE, 4, "small")
    x = torch.rand(3, 1, 4, 4)
    torch.testing.assert_close(normalised(x), plain((x - 0.3) / 0.5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": "elsewhere:tiny", "weights": None},
            "elsewhere:tiny has no trained weights; give them with --weights FILE",
        ),
        ({"model": "elsewhere:absent"}, "cannot import constructor"),
        ({"model": "nowhere:tiny"}, "cannot import constructor"),
        ({"model": "elsewhere:sized(16)"}, "write them as key=literal"),
        ({"model": "elsewhere:sized(inputs=16, num_classes=5)"}, "1.weight"),
        ({"model": "weights.pt"}, "is neither a WideResNet nor a pre-activation ResNet"),
        (
            {"model": "page.pt"},
            r"page\.pt cannot be read as a checkpoint without running its code \(Unsupported",
        ),
        ({"model": "absent.pt"}, "absent.pt is missing"),
        ({"mean": (0.5,), "std": ()}, "mean is given without std"),
        ({"mean": (0.5, 0.5), "std": (0.5, 0.5)}, "do not match images with 1 channels"),
        ({"mean": (0.5,), "std": (0.0,)}, "do not match images with 1 channels"),
    ],
)
def test_bad_sources_are_one_sentence(
    module: Path, changes: dict[str, object], message: str
) -> None:
    source = ModelSource("elsewhere:tiny", module / "weights.pt")
    if str(changes.get("model", "")).endswith(".pt"):
        changes = {"model": str(module / str(changes["model"])), "weights": None}
    with pytest.raises(UserError, match=message):
        open_model(replace(source, **changes), IMAGE, 4, "small")


def test_a_constructor_may_have_many_arguments() -> None:
    name = f"elsewhere:sized({', '.join(f'argument{i}=1' for i in range(99))})"
    assert model_file(name) == name


def test_networks_for_other_images_or_classes_are_refused(module: Path) -> None:
    source = ModelSource(str(module / "scripted.pt"))
    with pytest.raises(
        UserError, match=r"fails on 3 images of shape \(1, 5, 5\) with RuntimeError"
    ):
        open_model(source, torch.zeros(1, 1, 5, 5), 4, "small")
    with pytest.raises(
        UserError, match=r"scripted\.pt returns shape \(3, 4\) for 3 images, but the data set has 7"
    ):
        open_model(source, IMAGE, 7, "small")


@pytest.mark.parametrize("given", ["", "model.safetensors", "training.json"])
def test_a_training_is_named_by_its_folder_or_a_file_of_it(tmp_path: Path, given: str) -> None:
    spec = ModelSpec("wrn-10-1", "silu", 4, (4, 4, 1), (0.5,), (0.5,))
    save_model(tmp_path / "model.safetensors", build_model(spec), spec)
    assert model_file(str(tmp_path / given)) == str(tmp_path / "model.safetensors")


def test_a_folder_without_a_model_is_called_that(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder without model\.safetensors; expected"):
        open_model(ModelSource(model_file(str(tmp_path))), IMAGE, 4, "small")


def test_sources_are_distinguished(module: Path) -> None:
    source = ModelSource("elsewhere:tiny", module / "weights.pt")
    identities = [
        changed.identity()
        for changed in (
            source,
            replace(source, model="elsewhere:fixed"),
            replace(source, model="elsewhere:sized(inputs=16)"),
            replace(source, mean=(0.5,)),
            ModelSource(str(module / "scripted.pt")),
        )
    ]
    assert all(identities.count(identity) == 1 for identity in identities)


def exported(network: nn.Module, path: Path, any_number: bool = True) -> ModelSource:
    images = torch.rand(2, *IMAGE.shape[1:])
    dimensions = ({0: torch.export.Dim("images", max=1024)},) if any_number else None
    program = torch.export.export(network.eval(), (images,), dynamic_shapes=dimensions)
    torch.export.save(program, path)
    return ModelSource(str(path))


def convolution() -> nn.Module:
    """A network with batch norm, whose statistics are not those of a batch."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Linear(64, 4)
    )
    network(torch.rand(64, 1, 4, 4))
    return network.eval()


def test_an_exported_network_is_the_one_that_was_exported(tmp_path: Path) -> None:
    network = convolution()
    opened = open_model(exported(network, tmp_path / "network.pt2"), IMAGE, 4, "small")
    for count in (1, 5, 16):
        x = torch.rand(count, 1, 4, 4).requires_grad_()
        torch.testing.assert_close(opened(x), network(x))
        ours, theirs = (torch.autograd.grad(f(x).sum(), x)[0] for f in (opened, network))
        torch.testing.assert_close(ours, theirs)


def test_a_network_exported_for_one_number_of_images_is_refused(tmp_path: Path) -> None:
    source = exported(convolution(), tmp_path / "network.pt2", any_number=False)
    with pytest.raises(UserError, match=r"fails on 3 images .*torch\.export\.Dim"):
        open_model(source, IMAGE, 4, "small")


def test_nothing_that_a_file_brings_along_is_run(tmp_path: Path) -> None:
    class Opens:
        def __reduce__(self):
            return open, (str(tmp_path / "proof"), "w")

    exported(convolution(), tmp_path / "whole.pt2")
    pickled = io.BytesIO()
    torch.save(Opens(), pickled)
    with (
        zipfile.ZipFile(tmp_path / "whole.pt2") as whole,
        zipfile.ZipFile(tmp_path / "network.pt2", "w", zipfile.ZIP_STORED) as changed,
    ):
        for name in whole.namelist():
            inputs = name.endswith("sample_inputs/model.pt")
            changed.writestr(name, pickled.getvalue() if inputs else whole.read(name))
    torch.save(Opens(), tmp_path / "checkpoint.pt")
    for name in ("network.pt2", "checkpoint.pt"):
        with pytest.raises(UserError):
            open_model(ModelSource(str(tmp_path / name)), IMAGE, 4, "small")
    assert not (tmp_path / "proof").exists()


SPEC = ModelSpec("wrn-10-1", "silu", 10, (8, 8, 3), *NORMALIZATION["cifar10"])
PIXELS = torch.rand(4, 3, 8, 8)


def wrapped(state: dict[str, torch.Tensor], kind: str) -> dict[str, object]:
    if kind == "authors":
        return {**state}
    if kind == "robustbench":
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (SPEC.mean, SPEC.std))
        return {"state_dict": {f"module.{k}": v for k, v in state.items()} | {
            "module.mean": mean, "module.std": std}}  # fmt: skip
    return {"model_state_dict": {f"module.0.{key}": value for key, value in state.items()}}


@pytest.mark.parametrize("kind", ["authors", "robustbench", "edm"])
def test_published_checkpoints_are_loaded_unchanged(kind: str, tmp_path: Path) -> None:
    model = build_model(SPEC)
    torch.save(wrapped(model.state_dict(), kind), tmp_path / "published.pt")
    source = ModelSource(str(tmp_path / "published.pt"))
    # RobustBench's file holds its normalisation; that of the others is their data set's.
    dataset = "flowers" if kind == "robustbench" else "cifar10"
    opened = open_model(source, PIXELS[:1], 10, dataset)
    torch.testing.assert_close(opened(PIXELS), model(PIXELS))
    given = open_model(replace(source, mean=SPEC.mean, std=SPEC.std), PIXELS[:1], 10, "flowers")
    torch.testing.assert_close(given(PIXELS), model(PIXELS))


def test_a_published_checkpoint_without_normalisation_asks_for_it(tmp_path: Path) -> None:
    torch.save(build_model(SPEC).state_dict(), tmp_path / "published.pt")
    with pytest.raises(
        UserError,
        match=r"published\.pt does not include its normalisation, and no published one is",
    ):
        open_model(ModelSource(str(tmp_path / "published.pt")), PIXELS[:1], 10, "flowers")


def test_a_torchvision_network_is_taken_with_its_state_dict(tmp_path: Path) -> None:
    network = torchvision.models.mobilenet_v3_small(num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    source = ModelSource("torchvision.models:mobilenet_v3_small", tmp_path / "weights.pt")
    x = torch.rand(3, 3, 32, 32)
    opened = open_model(source, x[:1], 7, "flowers")
    torch.testing.assert_close(opened(x), network(x), rtol=1e-4, atol=1e-5)

"""Models on the disk, published checkpoints and their conversion."""

import collections
import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from pyrobust.cli import app
from pyrobust.errors import UserError
from pyrobust.models import ImageClassifier, ModelSpec, build_model, load_model, save_model
from pyrobust.models.checkpoints import architecture_of, published_state, read_checkpoint
from pyrobust.models.convert import Statements, convert_checkpoint
from pyrobust.models.files import load_strictly
from pyrobust.models.published import PUBLISHED, download, published_model

SPEC = ModelSpec(
    "wrn-10-1", "silu", 10, (32, 32, 3), (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
)


@pytest.fixture
def model() -> ImageClassifier:
    torch.manual_seed(0)
    return build_model(SPEC)


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert list(first) == list(second)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_a_saved_model_comes_back_with_its_specification(
    model: ImageClassifier, tmp_path: Path
) -> None:
    save_model(tmp_path / "model.safetensors", model, SPEC)
    loaded, spec = load_model(tmp_path / "model.safetensors", "cpu")
    assert spec == SPEC
    assert not loaded.training
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded(x), model(x))


def test_equal_models_are_equal_bytes_in_any_memory_format(
    model: ImageClassifier, tmp_path: Path
) -> None:
    save_model(tmp_path / "a.safetensors", model, SPEC)
    save_model(tmp_path / "b.safetensors", model.to(memory_format=torch.channels_last), SPEC)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_missing_a_torn_and_a_foreign_file_are_refused(
    model: ImageClassifier, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(
        UserError,
        match=r"model\.safetensors is missing; run 'pyrobust train' or 'pyrobust convert' to",
    ):
        load_model(path, "cpu")
    save_model(path, model, SPEC)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load_model(path, "cpu")


def test_weights_of_another_architecture_are_refused_with_the_keys(
    model: ImageClassifier, tmp_path: Path
) -> None:
    state = model.state_dict()
    state["extra.weight"] = state.pop("logits.bias")
    save_model(tmp_path / "m.safetensors", state, SPEC)
    with pytest.raises(UserError, match=r"missing: logits.bias; unexpected: extra.weight"):
        load_model(tmp_path / "m.safetensors", "cpu")
    save_model(tmp_path / "n.safetensors", model, replace(SPEC, num_classes=7))
    with pytest.raises(UserError, match=r"logits.bias \(10,\) instead of \(7,\)"):
        load_model(tmp_path / "n.safetensors", "cpu")


def nested_as_dm_improves_at(state: dict[str, Tensor]) -> object:
    prefixed = collections.OrderedDict((f"module.0.{key}", value) for key, value in state.items())
    worse = collections.OrderedDict((key, value + 1) for key, value in prefixed.items())
    return {
        "model_state_dict": prefixed,
        "unaveraged_model_state_dict": worse,
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "epoch": 400,
    }


WRAPPINGS = {
    "bare": lambda state: state,
    "robustbench": lambda state: {"state_dict": state},
    "dm_improves_at": nested_as_dm_improves_at,
    "data_parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_published_wrappings_give_the_same_state(
    wrapping: str, model: ImageClassifier, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(WRAPPINGS[wrapping](model.state_dict()), path)
    state = published_state(read_checkpoint(path))
    assert_same(state, model.state_dict())
    assert architecture_of(state, str(path)) == ("wrn-10-1", 10, 3)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code of the file runs",))


@pytest.mark.parametrize(
    "damage",
    [
        lambda weight: (weight * 100).to(torch.int8),
        lambda weight: weight.to(torch.complex64),
        lambda weight: weight.to_sparse(),
        lambda weight: weight.to("meta"),
        lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
    ],
)
def test_weights_of_another_kind_are_refused(damage):
    layer = nn.Linear(4, 3)
    state = layer.state_dict()
    load_strictly(layer, {**state, "weight": state["weight"].double()}, "it")
    with pytest.raises(UserError, match=r"it does not fit Linear \(of another kind: weight torch"):
        load_strictly(layer, {**state, "weight": damage(state["weight"])}, "it")


def test_a_checkpoint_that_would_run_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.pt"
    torch.save({"state_dict": Malicious()}, path)
    with pytest.raises(UserError, match="without running its code"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(UserError, match="without running its code"):
        read_checkpoint(path)
    path.write_text("<html>moved</html>")
    with pytest.raises(
        UserError,
        match=r"bad\.pt cannot be read as a checkpoint without running its code \(Unsupported",
    ):
        read_checkpoint(path)
    assert capsys.readouterr().out == ""


def test_a_file_without_a_state_dict_or_of_an_unknown_network_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"found a dictionary of \['epoch'\]"):
        read_checkpoint(tmp_path / "a.pt")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "b.pt")
    with pytest.raises(UserError, match="neither a WideResNet nor"):
        architecture_of(published_state(read_checkpoint(tmp_path / "b.pt")), "b.pt")


@pytest.mark.parametrize("architecture", ["wrn-16-2", "resnet-18", "resnet-34"])
def test_the_architecture_is_read_from_the_keys(architecture: str) -> None:
    spec = replace(SPEC, architecture=architecture, num_classes=7)
    with torch.device("meta"):
        state = build_model(spec).state_dict()
    assert architecture_of(state, "file") == (architecture, 7, 3)


def test_the_command_line_converts_there_and_back(model: ImageClassifier, tmp_path: Path) -> None:
    torch.save(nested_as_dm_improves_at(model.state_dict()), tmp_path / "dmi.pt")
    steps = [
        ["convert", "dmi.pt", "model.safetensors", "--dataset", "cifar10"],
        ["convert", ".", "bare.pt"],  # the folder of a training
    ]
    for step in steps:
        arguments = [step[0], *(str(tmp_path / name) for name in step[1:3]), *step[3:]]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0
    assert load_model(tmp_path / "model.safetensors", "cpu")[1] == SPEC
    bare = torch.load(tmp_path / "bare.pt", weights_only=True)
    assert isinstance(bare, collections.OrderedDict)
    assert_same(bare, model.state_dict())


def convert(source: Path, target: Path, dataset: str | None = None) -> None:
    convert_checkpoint(str(source), target, Statements(dataset), source.parent)


def test_conversion_asks_for_what_the_file_does_not_tell(
    model: ImageClassifier, tmp_path: Path
) -> None:
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(
        UserError,
        match=r"weights\.pt does not include its normalisation, and no published one is known",
    ):
        convert(tmp_path / "weights.pt", tmp_path / "out.safetensors")
    with pytest.raises(UserError, match="unknown published model 'wrn'; choose one of: cifar10_l"):
        convert(Path("wrn"), tmp_path / "out.safetensors")
    with pytest.raises(UserError, match=r"use \.safetensors or \.pt"):
        convert(tmp_path / "weights.pt", tmp_path / "out.bin", "cifar10")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_normalisation_stored_by_robustbench_is_used(
    model: ImageClassifier, tmp_path: Path
) -> None:
    state = {
        "mean": torch.tensor([0.5071, 0.4865, 0.4409]).view(3, 1, 1),
        "std": torch.tensor([0.2673, 0.2564, 0.2762]).view(3, 1, 1),
        **model.state_dict(),
    }
    torch.save(state, tmp_path / "weights.pt")
    convert(tmp_path / "weights.pt", tmp_path / "out.safetensors")
    spec = load_model(tmp_path / "out.safetensors", "cpu")[1]
    assert (spec.mean, spec.std) == ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))


BUCKET = "https://storage.googleapis.com/dm-adversarial-robustness"
EDM_FOLDER = "https://huggingface.co/wzekai99/DM-Improves-AT/resolve/main/checkpoint"


@pytest.mark.parametrize(
    ("name", "url", "network", "num_classes"),
    [
        ("cifar10_linf_resnet18_ddpm_100m", BUCKET, "resnet-18", 10),
        ("cifar10_linf_wrn70-16_cutmix_ddpm_100m", BUCKET, "wrn-70-16", 10),
        ("cifar100_linf_wrn28-10_ddpm", BUCKET, "wrn-28-10", 100),
        ("cifar10_l2_wrn70-16_edm", EDM_FOLDER, "wrn-70-16", 10),
    ],
)
def test_a_published_name_says_where_and_what_it_is(
    name: str, url: str, network: str, num_classes: int
) -> None:
    model = published_model(name)
    assert model.url == f"{url}/{name.removesuffix('_edm')}.pt"
    assert (model.spec.architecture, model.spec.num_classes) == (network, num_classes)


def test_an_unknown_published_name_is_refused_with_a_list() -> None:
    with pytest.raises(
        UserError, match="unknown published model 'cifar10_linf_vgg'; choose one of: cifar10_linf_"
    ):
        published_model("cifar10_linf_vgg")


def test_a_download_pins_its_hash(model: ImageClassifier, tmp_path: Path) -> None:
    source = tmp_path / "server.pt"
    torch.save(model.state_dict(), source)
    published = replace(PUBLISHED["cifar10_linf_wrn28-10_ddpm_v2"], url=source.as_uri())
    path = download(published, tmp_path / "downloads")
    seen = hashlib.sha256(source.read_bytes()).hexdigest()
    assert path.with_name(f"{path.name}.sha256").read_text() == f"{seen}\n"
    assert download(published, tmp_path / "downloads") == path
    path.write_bytes(b"changed")
    with pytest.raises(UserError, match=f"but {seen} is expected"):
        download(published, tmp_path / "downloads")


def test_a_dead_link_is_distinguished_from_a_checkpoint(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html>")
    published = replace(PUBLISHED["cifar10_linf_wrn28-10_ddpm_v2"], url=page.as_uri())
    with pytest.raises(
        UserError, match=r"file://.*page\.html returned a web page instead of a file"
    ):
        download(published, tmp_path / "downloads")
    published = replace(published, url=(tmp_path / "absent").as_uri())
    with pytest.raises(UserError, match="download it yourself and save it as"):
        download(published, tmp_path / "downloads")
    assert not list((tmp_path / "downloads").glob("*.pt"))

"""A published folder is loaded back as the same model, and its card says what was measured."""

import sys
from pathlib import Path
from shutil import copyfile
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import pyrobust
from pyrobust.cli import app
from pyrobust.evaluation.confidence_sequence import anytime_interval
from pyrobust.files import read_json, write_json
from pyrobust.models import ModelSpec, build_model, save_model
from pyrobust.reporting.model_card import push_model_folder

PUBLISHED = ["model.safetensors", "config.json", "README.md", "rows.parquet", "evaluation.json"]
SPEC = ModelSpec("wrn-10-1", "silu", 10, (8, 8, 1), (0.3,), (0.4,))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, another one, and an evaluation of the first."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("model", "other"):
        save_model(folder / f"{name}.safetensors", build_model(SPEC), SPEC)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 1, 8, 8, generator=generator)
    pyrobust.evaluate(
        folder / "model.safetensors",
        images,
        torch.arange(6),
        norm="linf",
        epsilon="8/255",
        attack="pgd40",
        output=folder / "evaluation",
    )
    return folder


def publish(folder: Path, output: Path, model: str = "", training: Path | None = None) -> Any:
    """Run the verb."""
    arguments = {
        "--model": folder / model,
        "--evaluation": folder / "evaluation",
        "--output": output,
        "--name": 'A "robust" model',
        "--license": "apache-2.0",
        **({} if training is None else {"--training": training}),
    }
    words = [str(word) for pair in arguments.items() for word in pair]
    app(["publish", *words], standalone_mode=False)


def test_the_folder_is_loaded_back_and_the_card_is_read(trained: Path, tmp_path: Path) -> None:
    publish(trained, tmp_path / "out")
    images = torch.rand(2, 1, 8, 8)
    loaded, original = (
        pyrobust.load(name, (1, 8, 8))
        for name in (f"hf:{tmp_path / 'out'}", str(trained / "model.safetensors"))
    )
    with torch.no_grad():
        assert torch.equal(loaded(images), original(images))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    _, head, body = card.split("---\n", 2)
    facts = yaml.safe_load(head)
    assert facts["license"] == "apache-2.0"
    metrics = facts["model-index"][0]["results"][0]["metrics"]
    summary = pyrobust.EvaluationResult.load(trained / "evaluation").summary
    assert metrics[0]["value"] == pytest.approx(100 * summary["clean_accuracy"], abs=0.01)
    assert metrics[1]["value"] == pytest.approx(100 * summary["worst"], abs=0.01)
    assert "PGD-40" in body
    assert "95% interval" in body


def test_a_card_of_a_stopped_evaluation_is_about_all_images(trained: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "evaluation/rows.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copyfile(trained / name, tmp_path / name)
    result = read_json(trained / "evaluation/evaluation.json", "")
    result["anytime"] = {
        "population": 20, "stopped_by": "budget", "clean_interval": [0, 1], "history": [],
        "robust_interval": [0, 1], "last_stage": {"name": "x", "num_broken": 0, "num_attacked": 1},
    }  # fmt: skip
    write_json(tmp_path / "evaluation/evaluation.json", result)
    card = _card_of(tmp_path, tmp_path / "out")
    low, high = (100 * bound for bound in anytime_interval(round(6 * result["worst"]), 6, 20))
    assert f"| {low:.1f} to {high:.1f} % |" in card
    assert "Measured on 6 of 20 test images under PGD-40." in card
    assert "the intervals (confidence sequences) are for all 20. They leave" in card
    assert "intervals (confidence sequences)" not in _card_of(trained, tmp_path / "whole")


def _card_of(folder: Path, output: Path) -> str:
    publish(folder, output)
    return (output / "README.md").read_text(encoding="utf-8")


def test_a_card_of_unnamed_layers_says_how_to_rebuild_them(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"norm": "linf", "epsilon": "8/255", "batch_size": 3}
    options |= {"epochs": 1, "validation": 2, "crop_padding": 0, "device": "cpu"}
    trained = pyrobust.train(network, images, torch.arange(6) % 2, **options)
    result = trained.evaluate(images, torch.arange(6) % 2, attack="pgd40")
    folder = trained.publish(tmp_path / "out", result, name="Layers")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "weights of a `Sequential`, not its code. Construct these layers" in card
    assert f"```\n{network}\n```" in card
    code = card.split("```python\n")[1].split("```")[0].replace("network = ...", "")
    given = {"network": network, "images": images}
    exec(code.replace("model.safetensors", str(folder / "model.safetensors")), given)
    with torch.no_grad():
        assert torch.equal(given["logits"], trained.model(images))


def test_an_evaluation_of_other_weights_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(pyrobust.UserError, match="evaluated other weights"):
        publish(trained, tmp_path / "out", model="other.safetensors")
    assert not (tmp_path / "out" / "README.md").exists()


def test_settings_of_another_run_are_refused(trained: Path, tmp_path: Path) -> None:
    for run in ("model", "other"):
        (tmp_path / run).mkdir()
        copyfile(trained / f"{run}.safetensors", tmp_path / run / "model.safetensors")
        write_json(tmp_path / run / "training.json", {"settings": {"recipe": "wang23"}})
    publish(trained, tmp_path / "out", training=tmp_path / "model/training.json")
    assert "wang23" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    for wrong in (tmp_path / "other/training.json", trained / "evaluation/evaluation.json"):
        with pytest.raises(pyrobust.UserError, match=f"{wrong.name} belongs to other weights"):
            publish(trained, tmp_path / "wrong", training=wrong)
    assert not (tmp_path / "wrong/README.md").exists()


def test_a_push_goes_to_the_repository(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(trained, tmp_path / "out")
    calls: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def create_repo(self, name: str, **options: Any) -> None:
            calls.append((name, options))

        def upload_folder(self, **options: Any) -> str:
            calls.append(("upload", options))
            return "address"

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api))
    assert push_model_folder(tmp_path / "out", "me/robust", private=True) == "address"
    assert calls == [
        ("me/robust", {"private": True, "exist_ok": True}),
        (
            "upload",
            {
                "repo_id": "me/robust",
                "folder_path": str(tmp_path / "out"),
                "allow_patterns": PUBLISHED,
            },
        ),
    ]


def test_a_push_that_fails_is_one_sentence(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(trained, tmp_path / "out")

    class Api:
        def create_repo(self, name: str, **options: Any) -> None:
            raise PermissionError("401 Unauthorized")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=Api))
    with pytest.raises(pyrobust.UserError, match=r"cannot upload to me/robust \(401"):
        push_model_folder(tmp_path / "out", "me/robust", private=False)

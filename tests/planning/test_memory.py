"""The counted memory of a GPU: what a real pass keeps, and what a plan says of it."""

import re
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from pyrobust.cli import app
from pyrobust.config import parse_settings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.models import ModelSpec, build_model
from pyrobust.models.batch_norm import batch_statistics
from pyrobust.models.build import logits_in
from pyrobust.planning.memory import _of_generator, kept_bytes
from pyrobust.planning.sizes import ImageCounts
from pyrobust.planning.work import generator_work

ROOT = Path(__file__).parents[2]


def kept_by_a_real_pass(
    architecture: str, precision: Literal["float32", "bfloat16"], count: int
) -> int:
    """Return the bytes of all images and weights, of tensors with memory."""
    half = (0.5,) * 3
    model = build_model(ModelSpec(architecture, "silu", 10, (16, 16, 3), half, half))
    model.to(memory_format=torch.channels_last)
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    x = torch.rand(count, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    with batch_statistics(model), saved_tensors_hooks(keep, lambda tensor: tensor):
        logits_in(precision, model)(x)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ["wrn-10-1", "resnet-18"])
def test_a_real_pass_keeps_what_is_counted(
    architecture: str, precision: Literal["float32", "bfloat16"]
) -> None:
    few, more = (kept_by_a_real_pass(architecture, precision, count) for count in (8, 24))
    counted = kept_bytes(architecture, (16, 16, 3), 10) / (2 if precision == "bfloat16" else 1)
    assert counted == pytest.approx((more - few) / 16, rel=0.01)


def plan(capsys: pytest.CaptureFixture[str], machine: str, *overlay: str) -> str:
    options = ["--plan", "cifar10_linf", "--machine", machine, *overlay]
    app(["info", "--config", str(ROOT / "config/config.yaml"), *options], standalone_mode=False)
    return capsys.readouterr().out


def test_a_plan_says_which_stages_do_not_fit_into_the_gpu(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = plan(capsys, "rtx-4090")
    assert "GPU memory of a job, counted and not measured: train-labeller" in text
    assert "train needs more than the 24 GB of this GPU" in text
    small = "experiments: {cifar10_linf: {training: {precision: bfloat16, batch_size: 128}}}"
    (tmp_path / "small.yaml").write_text(small)
    text = plan(capsys, "rtx-4090", "--config", str(tmp_path / "small.yaml"))
    assert "\ntrain needs more" not in text


def test_a_machine_without_gpu_has_no_such_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "GPU memory" not in plan(capsys, "two-cores")


def test_a_plan_counts_the_memory_of_the_generator(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = re.findall(r"(fit-generator|sample) ([\d.]+ [kMG]B)", plan(capsys, "rtx-4090"))
    # 128 images of half the 54.4 MB, five numbers of 35.7M weights, 49K images; 250 images.
    assert found == [("fit-generator", "4.35 GB"), ("sample", "1.07 GB")]
    (tmp_path / "float32.yaml").write_text("generators: {ddpm: {precision: float32}}")
    text = plan(capsys, "rtx-4090", "--config", str(tmp_path / "float32.yaml"))
    assert "fit-generator 7.83 GB" in text


@pytest.mark.parametrize(("kind", "least"), [("ddpm", 0.5), ("biggan", 1.0), ("vdvae", 1.0)])
def test_bfloat16_halves_the_memory_of_diffusion_models_alone(kind: str, least: float) -> None:
    images = ImageCounts(50_000, 0, 0, (32, 32, 3), 10)

    def sampling(precision: str) -> int:
        settings = parse_settings(GeneratorSettings, {"type": kind, "precision": precision})
        weights = 4 * generator_work(settings).weights
        return _of_generator(settings, images)["sample"] - weights

    assert sampling("bfloat16") == pytest.approx(least * sampling("float32"), rel=1e-6)

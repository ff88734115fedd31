"""Every benchmark script runs, at sizes that take seconds, and writes its numbers."""

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from pyrobust.analysis.augmentations import augment_store
from pyrobust.analysis.feature_extractors import make_extractor
from pyrobust.analysis.features import extract_features
from pyrobust.config.analysis import FeatureSettings
from pyrobust.config.data import DatasetSettings
from pyrobust.config.threats import Threat
from pyrobust.data.dataset import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.models import ModelSpec, build_model, save_model
from pyrobust.models.files import WEIGHTS
from tests.reporting.fixtures import add_seeds, make_stages
from tests.reporting.test_effects import SEEDS
from tests.reporting.test_effects import record_of as effect_record_of
from tests.reporting.test_record import record_of

ROOT = Path(__file__).parents[2]


def run(script: str, *options: object) -> str:
    """Run a script of benchmarks/ on one thread; return what it prints."""
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}.py", *map(str, options)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def only_json(folder: Path) -> Any:
    (file,) = folder.glob("*.json")
    return json.loads(file.read_text())


def make_project(folder: Path, name: str, labeller: str, features: str, size: int) -> Path:
    """Write a data set of noise, a labeller and its features where the workflow has them."""
    raw = folder / "raw" / name
    raw.mkdir(parents=True)
    (raw / "classes.txt").write_text("\n".join("0123456789"))
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, size, size, 1 if size == 8 else 3), np.uint8)
    for split in ("train", "test"):
        np.savez(raw / f"{split}.npz", image=images, label=np.arange(60) % 10)
    place = folder / "resources/datasets" / name
    make_dataset(name, raw.parent, place, DatasetSettings(validation_size=10))
    dataset = Dataset.open(place)
    grey = (0.5,) * dataset.image_shape[2]
    spec = ModelSpec("wrn-10-1", "silu", 10, dataset.image_shape, grey, grey)
    torch.manual_seed(0)
    weights = folder / "results/labellers" / name / labeller
    save_model(weights / WEIGHTS, build_model(spec), spec)
    extractor = make_extractor(FeatureSettings(), weights, torch.device("cpu"))
    target = folder / "results/features" / name / labeller / features / "train"
    extract_features([dataset.train], extractor, target, FeatureSettings(), None)
    return folder


def test_training_steps(tmp_path: Path) -> None:
    run(
        "training", "--networks", "wrn-10-1", "--norms", "linf", "l2", "--precisions", "float32",
        "--batch-size", 10, "--rounds", 1, "--kinds", "--device", "cpu", "--results", tmp_path,
    )  # fmt: skip
    rows = only_json(tmp_path)["rows"]
    assert [row["norm"] for row in rows] == ["linf", "l2"]
    assert all(row["images_per_second"] > 0 and row["forward_passes"] > 1 for row in rows)


def test_operators(tmp_path: Path) -> None:
    run(
        "operators", "--batch-size", 8, "--rounds", 2, "--no-compile", "--loader-images", 80,
        "--results", tmp_path,
    )  # fmt: skip
    result = only_json(tmp_path)
    names = {row["operator"].split()[0] for row in result["rows"]}
    assert {"linf_step_", "trades_kl", "sgd_ema_step_", "gather_augment"} <= names
    assert "| linf_step_ |" in next(tmp_path.glob("*.md")).read_text()


def test_neighbours(tmp_path: Path) -> None:
    run(
        "neighbours", "--tasks", "self", "--sizes", 2000, "--methods", "ours", "faiss",
        "--repeats", 1, "--output", tmp_path / "neighbours.json",
    )  # fmt: skip
    result = only_json(tmp_path)
    assert {row["method"] for row in result["rows"]} == {"ours", "faiss"}
    assert result["ratios"]["faiss, self, 2000"] > 0


@pytest.mark.parametrize("others", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_evaluation(others: int, tmp_path: Path) -> None:
    run(
        "evaluation", "--random", "wrn-10-1", "--num-images", 8, "--batch-size", 8,
        "--pass-size", 8, "--restarts", 1, "--steps", 2, "--repeats", 1, "--threads", 1,
        "--device", "cpu", "--attack", "pgd40", "--threat-images", others,
        "--certified-images", others, "--output", tmp_path / "evaluation.json",
    )  # fmt: skip
    (network,) = only_json(tmp_path)["networks"]
    assert list(network["rows"]) == ["bfloat16", "ours", "public"]
    assert set(network["additions"]) == {
        "evaluate", "checks", "self_test", "transcript", "verification", "intervals",
        "bytes_per_point",
    }  # fmt: skip
    if others:
        assert set(network["threats_per_image"]) == set(get_args(Threat))
        assert set(network["certificates_per_image"]) == {"ibp", "crown_ibp", "smoothing"}


@pytest.mark.slow
def test_drop_in(tmp_path: Path) -> None:
    run("drop_in", "--num-images", 10, "--repeats", 1, "--epochs", 0.1, "--output",
        tmp_path / "result.json")  # fmt: skip
    found = only_json(tmp_path)
    assert found["norms"].keys() == {"Linf", "L2"}
    for row in found["norms"].values():
        assert row["robust_accuracy"].keys() == row["cpu_seconds"].keys()
        assert list(row["stages"]) == ["apgd_ce", "apgd_t", "fab_t", "square"]
        assert all(0 <= value <= row["clean_accuracy"] for value in row["robust_accuracy"].values())


def test_stores(tmp_path: Path) -> None:
    run(
        "stores", "--folder", tmp_path, "--sizes", 2000, "--image-size", 4, "--channels", 1,
        "--output", tmp_path / "stores.json",
    )  # fmt: skip
    stages = {row["stage"] for row in only_json(tmp_path)["rows"]}
    assert stages == {"write", "select", "verify", "read"}


def test_sampling(tmp_path: Path) -> None:
    run(
        "sampling", "--preset", "tiny", "--image-size", 8, "--count", 2, "--seconds", 0.1,
        "--results", tmp_path,
    )  # fmt: skip
    types = only_json(tmp_path)["types"]
    assert set(types) == {"gaussian", "ddpm", "edm", "biggan", "vdvae", "stylegan2"}


def test_generators_and_samplers(tmp_path: Path) -> None:
    project = make_project(tmp_path, "digits", "digits", "small", size=8)
    fitted, results = tmp_path / "fitted", tmp_path / "numbers"
    run(
        "generators", "--project", project, "--output", fitted, "--types", "gaussian", "ddpm",
        "--num-samples", 20, "--training-steps", 2, "--results", results,
    )  # fmt: skip
    assert [row["type"] for row in only_json(results)["rows"]] == ["gaussian", "ddpm"]
    shutil.rmtree(results)
    run(
        "sampling", "--fitted", fitted / "ddpm", "--dataset", project / "resources/datasets/digits",
        "--labeller", project / "results/labellers/digits/digits", "--fid-count", 4,
        "--samplers", "dpm_solver",
        "--results", results,
    )  # fmt: skip
    assert all(row["fid"] > 0 for row in only_json(results)["samplers"].values())


def test_falling_fid(tmp_path: Path) -> None:
    project = make_project(tmp_path, "cifar10", "smoke", "smoke", size=32)
    results = tmp_path / "numbers"
    run(
        "falling_fid", "--project", project, "--output", tmp_path / "fitted",
        "--training-steps", 2, "--marks", 1, "--num-samples", 2, "--sampling-steps", 2,
        "--precision", "float32", "--results", results,
    )  # fmt: skip
    assert only_json(results)["fid"][0]["fid"] > 0


def test_lpips_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the labeller in place of LPIPS, whose published weights are known by their hash."""
    project = make_project(tmp_path, "cifar10", "smoke", "smoke", size=32)
    dataset = project / "resources/datasets/cifar10"
    augment_store(Dataset.open(dataset).train, tmp_path / "sets/mixup", "mixup", seed=0)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = importlib.import_module("lpips_neighbours")
    labeller = project / "results/labellers/cifar10/smoke"
    extractor = make_extractor(FeatureSettings(), labeller, torch.device("cpu"))
    options = argparse.Namespace(
        dataset=dataset, sets=tmp_path / "sets", output=tmp_path / "work", num_images=20
    )
    result = script.measure(options, extractor)
    assert result == script.measure(options, extractor)
    assert set(result["sets"]) == {"mixup", "other training images"}
    shares = [result["sets"]["mixup"][f"nearest in {name}"] for name in ("train", "test", "self")]
    assert sum(shares) == pytest.approx(100)
    ours, paper = (f"| mixup | {source} | " for source in ("ours", "paper"))
    assert f"{ours}{shares[0]:.2f} |" in script.table(result)
    assert f"{paper}96.33 | 0.17 | 3.50 |" in script.table(result)


def test_cifar10_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(tmp_path, "cifar10", "smoke", "smoke", size=32)
    command = [
        "cifar10_effect", "--dataset", project / "resources/datasets/cifar10",
        "--work", tmp_path / "work", "--architecture", "wrn-10-1", "--num-original", 20,
        "--num-validation", 10, "--num-images", 2, "--epochs", 0.0002, "--batch-size", 10,
        "--validations", 1, "--seeds", 1, "--arms", "original images only",
        "--results", tmp_path / "numbers",
    ]  # fmt: skip
    run(*command)
    result = only_json(tmp_path / "numbers")
    assert len(result["arms"]["original images only"]["runs"]) == 1
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = importlib.import_module("cifar10_effect")
    options = argparse.Namespace(**result["options"] | {"seeds": 4})
    accuracies = {"original images only": (0.2, 0.21, 0.22), "edm": (0.25, 0.26, 0.27)}
    runs = {
        name: [{"robust_accuracy": value, "best_step": 1, "steps": 2} for value in values]
        for name, values in accuracies.items()
    }
    text = script.table(script.summary(options, runs))
    assert "| edm | 0.3 | 3 | 1 | 26.0% (sd 1.0%) | +5.0 [+2.7, +7.3] |" in text


def test_digits_effect(tmp_path: Path) -> None:
    stages = make_stages(tmp_path / "stages")
    four = add_seeds(stages, robust=[0.6, 0.64], baseline=[0.5, 0.42])
    record = effect_record_of(four, SEEDS, SEEDS)
    (tmp_path / "record.json").write_text(json.dumps(record))
    printed = run("digits_effect", tmp_path / "record.json", "--results", tmp_path / "a/b.json")
    result = only_json(tmp_path / "a")
    (effect,) = result["effects"].values()
    robust = effect["robust_accuracy"]
    assert len(result["arms"]) == 2 and len(result["seeds"]) == 4
    assert f"{100 * robust['difference']:+.1f} points [" in printed


def test_measures_and_gains(tmp_path: Path) -> None:
    names = ["fid", "inception_score", "complementarity_train", "complementarity_test",
             "complementarity_self", "coverage_train", "coverage_test"]  # fmt: skip
    lines = [["name", "robust_runs", "num_runs", "gain", "gain_low", "gain_high", *names],
             ["alone", "0.50 0.51 0.52", "3", "", "", "", *[""] * len(names)]]  # fmt: skip
    for place, fid in enumerate((3.0, 2.0, 1.0)):
        gain = 0.1 * (place + 1)
        runs = " ".join(f"{0.5 + gain + noise:.2f}" for noise in (0, 0.01, 0.02))
        measures = [fid, 9 + place, 0.3, 0.3, 0.4, 0.5, 0.4]
        lines.append([f"g{place}", runs, "3", *map(str, (gain, gain - 0.1, gain + 0.1)),
                      *map(str, measures)])  # fmt: skip
    path = tmp_path / "table1_small.csv"
    path.write_text("\n".join(",".join(line) for line in lines))
    run("measures_and_gains", path, "--results", tmp_path / "results")
    found = only_json(tmp_path / "results")["measures"]
    assert found["FID, negative"]["correlation"] == pytest.approx(1)
    assert found["FID, negative"]["interval_over_seeds"] == pytest.approx([1, 1])
    assert found["FID, negative"]["exact_p"] == pytest.approx(2 / 6)
    assert found["coverage of test images"]["correlation"] == 0
    assert found["coverage of test images"]["minus_fid_over_seeds"] == pytest.approx([-1, -1])
    assert found["Inception score"]["minus_fid_over_seeds"] == pytest.approx([0, 0])


def test_learning(tmp_path: Path) -> None:
    stages = make_stages(tmp_path / "stages")
    record = record_of(stages)
    for name in ("cifar10_linf_small", "cifar10_linf_small_no_generated"):
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / f"results/{name}.json").write_text(json.dumps(record))
        shutil.copytree(stages.choice.parent, tmp_path / "results/train" / name)
    results = tmp_path / "numbers"
    run("learning", "--project", tmp_path, "--results", results)
    assert len(only_json(results)["runs"]) == 2
    assert {path.suffix for path in results.iterdir()} == {".json", ".md", ".svg"}


def test_pass_profile(tmp_path: Path) -> None:
    run(
        "pass_profile", "--network", "wrn-10-1", "--batch-size", 2, "--rounds", 1,
        "--results", tmp_path,
    )  # fmt: skip
    rows = only_json(tmp_path)["rows"]
    assert [row["precision"] for row in rows] == ["float32", "float32", "bfloat16", "bfloat16"]
    assert all(sum(row["shares"].values()) == pytest.approx(1) for row in rows)
    assert all({"convolutions", "batch norm", "activations"} <= set(row["shares"]) for row in rows)


def test_registers(tmp_path: Path) -> None:
    source = tmp_path / "twice.cu"
    source.write_text("__global__ void twice(float* x) { x[threadIdx.x] *= 2.f; }\n")
    if shutil.which("nvcc") is None:
        pytest.skip("needs nvcc")
    run("registers", "--source", source, "--architectures", "90", "--results", tmp_path)
    assert "| `twice` | 90 |" in (tmp_path / "cuda-registers.md").read_text()

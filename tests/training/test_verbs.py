"""`train`, `train-labeller` and `choose` through the real command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close
from typer.testing import CliRunner

from pyrobust.cli import app
from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError
from pyrobust.files import read_json
from pyrobust.models import load_model

# wrn-10-1, batches of 8, two steps.
TINY = [
    *("--architecture", "wrn-10-1", "--batch-size", "8", "--epoch-size", "16", "--epochs", "1"),
    *("--epsilon", "0.1", "--mixing-factor", "0.5", "--attack-steps", "2", "--validations", "1"),
    *("--gap-images", "4"),
]


ACCURACIES = ("clean_accuracy", "robust_accuracy")


def invoke(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_train_makes_two_steps_and_writes_all_that_the_formats_promise(
    digits: Path, samples: Path, tmp_path: Path
) -> None:
    invoke("train", "--dataset", digits, "--samples", samples, "--output", tmp_path, *TINY)
    record = read_json(tmp_path / "training.json", "")
    assert (record["steps"], record["best_step"]) == (2, 2)
    assert (record["num_original"], record["num_generated"]) == (1637, 200)
    assert record["validation"] == {
        **{key: record["history"][0][key] for key in ACCURACIES},
        "num_images": 60,
        "attack": "pgd40",
    }
    gap = {f"{of}_{key}" for of in ("train", "live", "live_train") for key in ACCURACIES}
    assert set(record["history"][0]) == {"step", *ACCURACIES, *gap}
    settings = TrainSettings(**record["settings"])
    later = {
        "objective",
        "mart_lambda",
        "awp_gamma",
        "ibp_kappa",
        "ibp_ramp",
    }  # left out at their defaults
    assert set(TrainSettings.model_fields) - set(record["settings"]) == later
    assert (settings.recipe, settings.mixing_factor, settings.epsilon) == ("gowal21", 0.5, "0.1")
    _, spec = load_model(tmp_path / "model.safetensors", "cpu")
    assert record["spec"] == spec.to_json()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line.get("split") for line in lines] == [None, "validation"]
    assert set(lines[0]) == {
        *("step", "epoch", "learning_rate", "loss", "clean_loss", "robust_loss"),
        *("clean_accuracy", "robust_accuracy"),
    }
    cost = read_json(tmp_path / "cost.json", "")
    parts = {"seconds", "images_per_second", "peak_memory_mb", "device", "versions", "commit"}
    assert parts == set(cost)
    assert not (tmp_path / "state").exists()


def test_training_does_not_look_at_the_test_split(
    digits: Path, samples: Path, tmp_path: Path
) -> None:
    shutil.copytree(digits, tmp_path / "digits")
    shutil.rmtree(tmp_path / "digits" / "test")
    inputs = ["--dataset", tmp_path / "digits", "--samples", samples]
    invoke("train", *inputs, "--output", tmp_path / "run", *TINY)
    assert (tmp_path / "run" / "training.json").exists()


def test_a_flipped_byte_is_never_trained_on(digits: Path, samples: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "samples"
    shutil.copytree(samples, damaged)
    images = bytearray((damaged / "images-00000.npy").read_bytes())
    images[-1] ^= 1
    (damaged / "images-00000.npy").write_bytes(images)
    with pytest.raises(UserError, match=r"images-00000\.npy does not match its SHA-256"):
        invoke(
            "train", "--dataset", digits, "--samples", damaged, "--output", tmp_path / "o", *TINY
        )
    assert not (tmp_path / "o" / "training.json").exists()


def test_measuring_the_gap_changes_no_weights(digits: Path, samples: Path, tmp_path: Path) -> None:
    for count in (0, 30):
        output = tmp_path / str(count)
        inputs = ("--dataset", digits, "--samples", samples, "--output", output)
        invoke("train", *inputs, *TINY, "--gap-images", count)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("0", "30")]
    assert weights[0] == weights[1]
    history = read_json(tmp_path / "0/training.json", "")["history"]
    assert set(history[0]) == {"step", *ACCURACIES}


@pytest.mark.parametrize("recipe", ["gowal21", "wang23"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_recipe_trains_for_both_norms(
    recipe: str, norm: str, digits: Path, samples: Path, tmp_path: Path
) -> None:
    inputs = ["--dataset", digits, "--samples", samples]
    invoke("train", *inputs, "--output", tmp_path, *TINY, "--recipe", recipe, "--norm", norm)
    assert read_json(tmp_path / "training.json", "")["settings"]["norm"] == norm


def test_two_runs_of_one_seed_are_equal_and_choose_takes_one(
    digits: Path, samples: Path, tmp_path: Path
) -> None:
    inputs = ["--dataset", digits, "--samples", samples]
    for name, seed in (("a", 0), ("again", 0), ("b", 1)):
        invoke("train", *inputs, "--output", tmp_path / name, *TINY, "--seed", seed)
    for file in ("model.safetensors", "training.json", "log.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] != weights[1]
    runs = ["--runs", tmp_path / "a", "--runs", tmp_path / "b"]
    invoke("choose", *runs, "--output", tmp_path)
    chosen = read_json(tmp_path / "choice.json", "")["chosen_seed"]
    assert (tmp_path / "model.safetensors").read_bytes() == weights[chosen]


def test_the_labeller_learns_digits_in_forty_steps(digits: Path, tmp_path: Path) -> None:
    invoke(
        *("train-labeller", "--dataset", digits, "--output", tmp_path),
        *("--architecture", "wrn-10-1", "--epoch-size", "2560", "--epochs", "1"),
        *("--batch-size", "64", "--averaging-decay", "0.9"),
    )
    record = read_json(tmp_path / "labeller.json", "")
    assert record["test_accuracy"] > 0.5
    assert record["num_test_images"] == 100
    assert record["spec"] == load_model(tmp_path / "model.safetensors", "cpu")[1].to_json()


def test_a_mixture_without_samples_is_refused_before_anything_is_written(
    digits: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    with pytest.raises(UserError, match=r"give --samples, or use --mixing-factor 1"):
        invoke("train", "--dataset", digits, "--output", output, *TINY)
    with pytest.raises(UserError, match="depth 10, 16, 22"):
        invoke(
            *("train", "--dataset", digits, "--output", output, *TINY),
            *("--mixing-factor", "1", "--architecture", "wrn-12-1"),
        )
    with pytest.raises(UserError, match="expected auto, cpu or cuda"):
        invoke(
            *("train", "--dataset", digits, "--output", output, *TINY),
            *("--mixing-factor", "1", "--device", "tpu"),
        )
    assert not output.exists()


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pyrobust", *(str(a) for a in arguments)]


ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_run_killed_by_sigkill_ends_with_the_same_bytes(
    digits: Path, samples: Path, tmp_path: Path
) -> None:
    options = [*TINY, "--epoch-size", "160", "--save-steps", "1", "--trackers", ""]  # 20 steps
    options = ["--dataset", digits, "--samples", samples, *options, "--validations", "4"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command("train", *options, "--output", whole), env=ONE_THREAD, check=True)
    state = list(killed.glob("state/*/state.safetensors"))
    process = subprocess.Popen(command("train", *options, "--output", killed), env=ONE_THREAD)
    while not state and process.poll() is None:
        time.sleep(0.05)
        state = list(killed.glob("state/*/state.safetensors"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "training.json").exists()
    subprocess.run(command("train", *options, "--output", killed), env=ONE_THREAD, check=True)
    for file in ("model.safetensors", "training.json", "log.jsonl"):
        assert (whole / file).read_bytes() == (killed / file).read_bytes(), file


@pytest.mark.slow
def test_two_processes_follow_one(digits: Path, samples: Path, tmp_path: Path) -> None:
    """Same batches, schedule and, through virtual batches, the same batch norm."""
    options = [*TINY, "--epoch-size", "40", "--virtual-batch", "4", "--trackers", ""]
    options = ["--dataset", digits, "--samples", samples, *options, "--no-zero-logits"]
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run(command("train", *options, "--output", one), env=ONE_THREAD, check=True)
    together = command("train", *options, "--output", two, "--processes", "2")
    exported = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "8"}  # by a batch script
    subprocess.run(together, env={**ONE_THREAD, **exported}, check=True)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, two))
    for name, value in ours.items():
        assert_close(theirs[name], value, rtol=1e-3, atol=1e-4, msg=name)
    lines = [(folder / "log.jsonl").read_text().splitlines() for folder in (one, two)]
    for first, second in zip(*lines, strict=True):
        numbers = [json.loads(line) for line in (first, second)]
        assert len({n.pop("split", "train") for n in numbers}) == 1
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-3, abs=0.02)

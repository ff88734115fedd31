"""`evaluate` and `landscape` through the real command line."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pyrobust.attacks import ThreatModel
from pyrobust.cli import app
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.data import Dataset
from pyrobust.data.store import StoreWriter
from pyrobust.errors import UserError
from pyrobust.evaluation.evaluate import evaluate
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.files import read_json
from pyrobust.models import ModelSpec, build_model, save_model

ATTACK = [
    *("--num-images", "40", "--batch-size", "25", "--pass-size", "16"),
    *("--apgd-ce-steps", "5", "--apgd-ce-restarts", "1"),
    *("--apgd-dlr-steps", "5", "--apgd-dlr-restarts", "1"),
    *("--multitargeted-steps", "5", "--multitargeted-restarts", "1"),
    *("--multitargeted-targets", "2"),
]


@pytest.fixture
def options(model_file: Path, digits: Path) -> list[str]:
    threat = ["--norm", "linf", "--epsilon", "16/255"]
    return ["--model", str(model_file), "--dataset", str(digits), *threat]


def invoke(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_evaluate_writes_all_that_the_formats_promise(
    options: list[str], subject: Subject, tmp_path: Path
) -> None:
    invoke("evaluate", *options, *ATTACK, "--output", tmp_path, "--keep-adversarial")
    result = read_json(tmp_path / "evaluation.json", "")
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert f"{100 * result['worst']:.1f} %" in page
    assert (result["norm"], result["epsilon"], result["num_images"]) == ("linf", "16/255", 40)
    assert result["autoattack"] is None
    assert result["worst"] == result["robust_accuracy"] < result["clean_accuracy"]
    stages = result["stages"]
    assert [s["name"] for s in stages] == ["apgd_ce", "apgd_dlr", "multitargeted"]
    assert all(s["robust_accuracy"] == s["num_standing"] / 40 for s in stages)
    assert result["robust_accuracy"] == stages[-1]["robust_accuracy"]
    assert all(check["passed"] for check in result["checks"]), result["checks"]
    cost = read_json(tmp_path / "cost.json", "")
    measured = {"seconds", "images_per_second", "peak_memory_mb", "device", "versions"}
    assert set(cost) - {"commit"} == measured
    assert not (tmp_path / "state").exists()

    rows = pq.read_table(tmp_path / "rows.parquet").to_pandas()
    assert list(rows["image"]) == list(range(40))
    assert list(rows["label"]) == list(subject.images.labels[:40])
    standing = rows["clean_correct"] & rows["broken_by"].isna()
    assert standing.sum() == stages[-1]["num_standing"]
    x_adv = torch.from_numpy(np.load(tmp_path / "adversarial.npy", allow_pickle=False))
    x, labels = subject.load(range(40))
    assert ThreatModel("linf", 16 / 255).contains(x_adv, x).all()
    right = (subject.logits_fn(x_adv).argmax(1) == labels).numpy()
    np.testing.assert_array_equal(right, standing)
    distance = subject.threat.distance(x_adv, x).numpy()
    np.testing.assert_array_equal(rows["perturbation_norm"], distance)


def test_autoattack_is_beside_aa_mt(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrobust.evaluation.autoattack.NUM_QUERIES", 20)
    monkeypatch.setattr("pyrobust.evaluation.autoattack._NUM_STEPS", 3)
    invoke("evaluate", *options, *ATTACK, "--output", tmp_path, "--autoattack")
    result = read_json(tmp_path / "evaluation.json", "")
    names = [stage["name"] for stage in result["autoattack"]["stages"]]
    assert names == ["apgd_ce", "apgd_t", "fab_t", "square"]
    theirs = result["autoattack"]["robust_accuracy"]
    assert result["worst"] == min(result["robust_accuracy"], theirs)
    assert "gradient_beats_queries" in [check["name"] for check in result["checks"]]
    rows = pq.read_table(tmp_path / "rows.parquet").to_pandas()
    assert (rows["clean_correct"] & rows["broken_by_autoattack"].isna()).sum() == theirs * 40


def test_what_failed_is_reported_before_the_attack(
    subject: Subject,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told, load = [], Subject.load

    def recorded(self: Subject, rows: range) -> tuple[torch.Tensor, torch.Tensor]:
        told.append(caplog.text)
        return load(self, rows)

    monkeypatch.setattr(Subject, "load", recorded)
    ended = replace(subject, logits_fn=lambda x: subject.logits_fn(x).softmax(1))
    evaluate(
        ended, tmp_path, EvaluationSettings(num_images=8, apgd_ce_steps=2, multitargeted_steps=2)
    )
    # The first images are loaded for the checks, the second for the attack.
    assert "failed" not in told[0]
    assert "logits_not_probabilities failed: outputs from " in told[1]


def test_points_of_a_surrogate_are_compared(
    options: list[str], model_file: Path, tmp_path: Path
) -> None:
    invoke("evaluate", *options, *ATTACK, "--surrogate", model_file, "--output", tmp_path)
    result = read_json(tmp_path / "evaluation.json", "")
    (check,) = [c for c in result["checks"] if c["name"] == "white_box_beats_transfer"]
    assert check["passed"], check["seen"]
    assert (result["dataset"], result["split"]) == ("digits", "test")


def store_samples(folder: Path, digits: Path, class_names: tuple[str, ...] | None = None) -> None:
    """Write forty training images, last one first, as a sample store."""
    train = Dataset.open(digits).train
    rows = np.arange(40)[::-1]
    names = class_names or train.class_names
    writer = StoreWriter(folder, train.image_shape, names, len(rows), {}, "a test")
    writer.append(train.gather(rows), train.labels()[rows])
    writer.finish()


def test_samples_are_attacked_in_place_of_a_split(
    options: list[str], digits: Path, tmp_path: Path
) -> None:
    store_samples(tmp_path / "samples", digits)
    given = ["--samples", tmp_path / "samples", "--num-images", "30"]
    invoke("evaluate", *options, *ATTACK, *given, "--output", tmp_path / "samples-out")
    invoke("evaluate", *options, *ATTACK, "--split", "train", "--output", tmp_path / "train-out")
    ours, train = (
        read_json(tmp_path / f"{s}-out/evaluation.json", "") for s in ("samples", "train")
    )
    assert (ours["dataset"], ours["split"], ours["num_images"]) == ("digits", "samples", 30)
    assert ours["subject"]["images"] != train["subject"]["images"]
    rows, theirs = (
        pq.read_table(tmp_path / f"{s}-out/rows.parquet").to_pandas() for s in ("samples", "train")
    )
    for column in ("label", "clean_prediction"):
        assert list(rows[column]) == list(theirs[column][:9:-1])


def test_samples_of_another_data_set_are_refused(
    options: list[str], digits: Path, tmp_path: Path
) -> None:
    store_samples(tmp_path / "samples", digits, tuple("abcdefghij"))
    given = ["--samples", str(tmp_path / "samples"), "--output", str(tmp_path / "out")]
    with pytest.raises(
        UserError,
        match=r"class_names of .*samples is \('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'",
    ):
        CliRunner().invoke(app, ["evaluate", *options, *ATTACK, *given], catch_exceptions=False)


def test_further_radii_make_a_curve_through_the_result(options: list[str], tmp_path: Path) -> None:
    invoke("evaluate", *options, *ATTACK, "--output", tmp_path / "alone")
    curve = ["--curve", "32/255,8/255"]
    invoke("evaluate", *options, *ATTACK, *curve, "--output", tmp_path / "curve")
    alone, result = (
        read_json(tmp_path / run / "evaluation.json", "") for run in ("alone", "curve")
    )
    assert alone["curve"] == []
    assert [point["epsilon"] for point in result["curve"]] == ["8/255", "16/255", "32/255"]
    assert result["curve"][1]["robust_accuracy"] == result["robust_accuracy"]
    assert result["stages"] == alone["stages"]
    rows = pq.read_table(tmp_path / "curve" / "rows.parquet").to_pandas()
    for place, point in enumerate(result["curve"]):
        fallen = rows["broken_at"].isin(["8/255", "16/255", "32/255"][: place + 1])
        assert (rows["clean_correct"] & ~fallen).sum() == point["num_standing"]
    own = rows["broken_at"].isin(["8/255", "16/255"])
    np.testing.assert_array_equal(own, rows["broken_by"].notna())


def test_shares_of_several_jobs_end_with_the_same_bytes(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = [*ATTACK, "--batch-size", "9", "--curve", "24/255"]
    invoke("evaluate", *options, *small, "--output", tmp_path / "whole")
    for share in ("2/3", "1/3", "3/3", "7/7"):
        invoke("evaluate", *options, *small, "--output", tmp_path / "shared", "--share", share)
    assert not list(tmp_path.glob("shared/*.json"))
    # What is left for the last run is to put the shares together.
    monkeypatch.setattr("pyrobust.evaluation.cascade.CascadeRun._run", None)
    invoke("evaluate", *options, *small, "--output", tmp_path / "shared")
    for name in ("evaluation.json", "rows.parquet"):
        shared, whole = (tmp_path / run / name for run in ("shared", "whole"))
        assert shared.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_shares_killed_at_any_time_end_with_the_same_bytes(
    options: list[str], tmp_path: Path
) -> None:
    small = [*ATTACK, "--batch-size", "9"]
    invoke("evaluate", *options, *small, "--output", tmp_path / "whole")
    command = [sys.executable, "-m", "pyrobust", "evaluate", *options, *small]
    command += ["--output", str(tmp_path / "shared")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def saved() -> int:
        return len(list(tmp_path.glob("shared/state/*/[!.]*.npz")))

    for kill in (True, False):
        jobs = [
            subprocess.Popen([*command, "--share", share], env=environment)
            for share in ("1/2", "2/2")
        ]
        while kill and saved() < 2:
            time.sleep(0.01)
        for job in jobs:
            if kill:
                job.send_signal(signal.SIGKILL)
            job.wait()
    assert saved() == 5
    invoke("evaluate", *options, *small, "--output", tmp_path / "shared")
    for name in ("evaluation.json", "rows.parquet"):
        shared, whole = (tmp_path / run / name for run in ("shared", "whole"))
        assert shared.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--epsilon", "300/255", "use a value above 0 and at most 1"),
        ("--epsilon", "eight", "epsilon is 'eight'"),
        ("--norm", "l3", "norm is 'l3'"),
        ("--model", "nowhere.safetensors", "nowhere.safetensors is missing"),
        ("--dataset", "nowhere", "is missing: 'pyrobust dataset' writes it"),
        ("--multitargeted-steps", "0", "multitargeted_steps is 0"),
        ("--curve", "8/255,300/255", "curve: epsilon is 300/255"),
        ("--curve", "8/255,x", r"curve.1 is 'x'"),
        ("--share", "5/4", "share is '5/4', expected NUMBER/OF"),
        ("--mean", "half", "mean is 'half', expected numbers with commas"),
    ],
)
def test_bad_input_is_one_sentence(
    option: str, value: str, message: str, options: list[str], tmp_path: Path
) -> None:
    arguments = ["evaluate", *options, *ATTACK, "--output", str(tmp_path), option, value]
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not list(tmp_path.glob("*.json"))


def test_a_model_for_other_images_is_refused(options: list[str], tmp_path: Path) -> None:
    spec = ModelSpec("wrn-10-1", "silu", 10, (32, 32, 3), (0.5,) * 3, (0.5,) * 3)
    save_model(tmp_path / "other.safetensors", build_model(spec), spec)
    arguments = ["evaluate", *options, *ATTACK, "--output", str(tmp_path / "out")]
    arguments += ["--model", str(tmp_path / "other.safetensors")]
    with pytest.raises(
        UserError, match=r"made for images of shape \(32, 32, 3\), but .* \(8, 8, 1\)"
    ):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", "16/255"), ("l2", "1")])
def test_landscape_is_a_plane_through_each_image(
    norm: str, epsilon: str, options: list[str], subject: Subject, tmp_path: Path
) -> None:
    grid = ["--resolution", "5", "--extent", "1.0"]
    threat = ["--norm", norm, "--epsilon", epsilon]
    invoke("landscape", *options, *threat, *grid, "--output", tmp_path)
    result = read_json(tmp_path / "landscape.json", "")
    assert (result["norm"], result["epsilon"]) == (norm, epsilon)
    assert [image["image"] for image in result["images"]] == [0, 1]
    x, labels = subject.load(range(2))
    logits = subject.logits_fn(x)
    own = logits.gather(1, labels[:, None])[:, 0]
    margin = own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    for image, clean in zip(result["images"], margin.tolist(), strict=True):
        radius = 16 / 255 if norm == "linf" else 1.0
        assert image["u"] == image["v"] == pytest.approx([-radius, -radius / 2, 0, radius / 2,
                                                          radius])  # fmt: skip
        values = np.array(image["margin"])
        assert values.shape == (5, 5)
        assert values[2, 2] == pytest.approx(clean, abs=1e-4)
        # Along u lies the worst point that was found; row 2 is v = 0.
        assert values[2, 4] < values[2, 2]


def test_a_folder_of_images_is_evaluated_and_the_result_is_printed(
    model_file: Path, subject: Subject, tmp_path: Path
) -> None:
    x, labels = subject.load(range(20))
    for number, (pixels, label) in enumerate(zip(x, labels.tolist(), strict=True)):
        path = tmp_path / "images" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels[0] * 255).round().byte().numpy()).save(path)
    for name in "0123456789":
        (tmp_path / "images" / name).mkdir(exist_ok=True)
    threat = ["--norm", "linf", "--epsilon", "16/255", "--output", tmp_path / "out"]
    command = ["evaluate", "--model", model_file, "--images", tmp_path / "images", *threat, *ATTACK]
    printed = CliRunner().invoke(app, [str(a) for a in command], catch_exceptions=False).output
    result = read_json(tmp_path / "out" / "evaluation.json", "")
    clean, robust = (100 * result[f"{kind}_accuracy"] for kind in ("clean", "robust"))
    assert f"clean {clean:.1f} %, robust {robust:.1f} % [" in printed
    assert "16/255, 20 images" in printed
    assert not (tmp_path / "out" / "state").exists()
    told = CliRunner().invoke(app, ["info", str(tmp_path / "out")], catch_exceptions=False).output
    assert f"clean {clean:.1f} %, robust {robust:.1f} % [" in told
    assert "AA+MT, after apgd_ce (APGD on cross entropy, 1 × 5 steps): " in told

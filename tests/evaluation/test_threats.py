"""Several threats: accuracies image by image, their union, resuming, and what is written."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

import pyrobust
from pyrobust.cli import app
from pyrobust.config import parse_settings
from pyrobust.config.threats import ThreatsSettings
from pyrobust.errors import UserError
from pyrobust.evaluation import cascade, threat_attacks, threats
from pyrobust.evaluation.corruptions import CORRUPTIONS
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.threats import evaluate_threats
from tests.kills import Killed

QUICK = {
    "linf": "8/255",
    "l2": "0.2",
    "l1": "0.5",
    "attack": "pgd40",
    "max_rotation": 10,
    "num_rotations": 3,
    "num_translations": 1,
    "patch_locations": 2,
    "patch_steps": 5,
    "severity": 2,
    "num_images": 24,
    "batch_size": 10,
}


def settings(**changes: Any) -> ThreatsSettings:
    return parse_settings(ThreatsSettings, {**QUICK, **changes})


class Trap(nn.Module):
    """Falls to a single threat, by which of two marks the image bears.

    With the first mark: if the mean leaves 0.5, as all pixels together can make it. With the
    second: if the pixel in the corner is white. With neither: never.
    """

    def forward(self, x: Tensor) -> Tensor:
        first, second = ((x[:, 0, place, place] > 0.55).float() for place in (3, 5))
        by_mean = 0.05 - (x.flatten(1).mean(1) - 0.5).abs()
        by_corner = 0.9 - x[:, 0, 0, 0]
        margin = first * by_mean + (1 - first) * (second * by_corner + 1 - second)
        return 10 * torch.stack([margin, torch.zeros_like(margin)], 1)


def test_the_union_counts_an_image_only_if_it_withstands_each_threat() -> None:
    x = torch.full((3, 1, 8, 8), 0.5)
    x[:, 0, 3, 3], x[:, 0, 5, 5] = 0.3, 0.3
    x[0, 0, 3, 3], x[1, 0, 5, 5] = 0.8, 0.8
    result = pyrobust.threats(
        Trap(), x, torch.zeros(3, dtype=torch.int64), threats=("linf", "patch"), linf="0.1",
        attack="pgd40", patch_locations=8, patch_steps=10, device="cpu",
    )  # fmt: skip
    assert result.rows["broken_by_linf"].to_pylist() == ["pgd40", None, None]
    assert result.rows["broken_by_patch"].to_pylist() == [None, "patch", None]
    assert result.rows["robust_to_all"].to_pylist() == [False, False, True]
    assert result.robust_accuracy == pytest.approx({"linf": 2 / 3, "patch": 2 / 3, "all": 1 / 3})
    low, high = result.intervals["all"]
    assert low < 1 / 3 < high
    assert result.summary["clean_accuracy"] == 1


def test_a_radius_beyond_all_images_is_refused() -> None:
    x, labels = torch.full((3, 1, 8, 8), 0.5), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(UserError, match=r"l2 is 128, but images .* at most 8 apart in l2"):
        pyrobust.threats(Trap(), x, labels, threats=("l2",), l2="128", device="cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("threats") / "whole"


def test_rows_and_record_agree(subject: Subject, whole: Path) -> None:
    record = evaluate_threats(subject, whole, settings())
    rows = pq.read_table(whole / "threats.parquet").to_pandas()
    assert record == json.loads((whole / "threats.json").read_text())
    assert len(rows) == record["num_images"] == 24
    correct = rows["clean_correct"]
    standing = {}
    for threat in record["threats"]:
        standing[threat["name"]] = correct & rows[f"broken_by_{threat['name']}"].isna()
        assert threat["num_standing"] == standing[threat["name"]].sum()
        num_broken = sum(stage["num_broken"] for stage in threat["stages"])
        assert num_broken == correct.sum() - threat["num_standing"]
        assert threat["refused"] == 0
    balls, everything = record["unions"]
    assert balls["threats"] == ["linf", "l2", "l1"]
    assert (
        balls["num_standing"]
        == np.logical_and.reduce([standing[name] for name in balls["threats"]]).sum()
    )
    assert everything["num_standing"] == rows["robust_to_all"].sum()
    assert everything["num_standing"] <= min(t["num_standing"] for t in record["threats"])
    assert min(t["num_standing"] for t in record["threats"]) > 0, "the case tells nothing"
    assert {check["name"] for check in record["checks"]} >= {
        "deterministic",
        "l1: many_steps_beat_one",
    }


def test_a_killed_run_resumes_with_the_same_rows(
    subject: Subject, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (whole / "threats.json").exists():
        evaluate_threats(subject, whole, settings())
    attack, calls = cascade.CascadeRun.attack, []

    def dies(self: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return attack(self, *arguments, **options)

    monkeypatch.setattr(cascade.CascadeRun, "attack", dies)
    with pytest.raises(KeyboardInterrupt):
        evaluate_threats(subject, tmp_path / "out", settings())
    monkeypatch.setattr(cascade.CascadeRun, "attack", attack)
    evaluate_threats(subject, tmp_path / "out", settings())
    for name in ("threats.parquet", "threats.json"):
        assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()
    assert not (tmp_path / "out/state").exists()
    with pytest.raises(UserError, match=r"another evaluation \(severity 2 instead of 1\)"):
        evaluate_threats(subject, tmp_path / "out", settings(severity=1))


def test_a_state_with_other_corruptions_is_not_resumed(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(threats="corruptions", severity=5)
    expected = evaluate_threats(subject, tmp_path / "whole", asked)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        others = dict(reversed(CORRUPTIONS.items()))
        patch.setattr(threat_attacks, "CORRUPTIONS", others)
        patch.setattr(threats, "_write_rows", Mock(side_effect=Killed))
        evaluate_threats(subject, tmp_path / "out", asked)
    assert evaluate_threats(subject, tmp_path / "out", asked) == expected


def test_the_verb_prints_the_table_and_writes_a_page(
    model_file: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--threats", "spatial,corruptions", "--num-rotations", "3", "--num-images", "20"]
    app(
        ["threats", "--model", str(model_file), "--dataset", str(digits), "--output",
         str(tmp_path), *options],
        standalone_mode=False,
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in lines[:4]] == ["clean", "spatial", "corruptions", "all"]
    app(["info", str(tmp_path)], standalone_mode=False)
    assert capsys.readouterr().out.splitlines() == lines
    page = (tmp_path / "threats.html").read_text()
    assert "all together" in page and "all 75 transformations of a grid" in page
    assert page.count("<svg") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threats": "linf,linf"}, "threats is .*each once"),
        ({"threats": "l0"}, "threats"),
        ({"num_rotations": 4}, "num_rotations is 4: .*odd number"),
        ({"linf": "2"}, "epsilon is 2"),
        ({"l1": "0"}, "must be above 0"),
        ({"severity": 6}, "severity"),
        ({"patch_area": 0}, "patch_area"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings(**changes)

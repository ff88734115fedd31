"""A transcript shows what its evaluation found."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrobust.config.evaluation import EvaluationSettings, ThreatSettings
from pyrobust.errors import UserError
from pyrobust.evaluation.anytime import Limits
from pyrobust.evaluation.evaluate import evaluate
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.evaluation.model_sources import ModelSource
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.transcripts.evidence import BROKEN
from pyrobust.evaluation.transcripts.perturbation_codec import decode_points
from pyrobust.evaluation.transcripts.transcript import Transcript
from pyrobust.evaluation.transcripts.verification import verify_transcript
from pyrobust.files import read_json
from tests.evaluation.transcripts.commands import run_evaluate, verified


def test_the_claim_of_an_evaluation_holds(
    folder: Path, command: list[str], transcript: Transcript
) -> None:
    result = read_json(folder / "out/evaluation.json", "")
    status, output = verified(folder / "transcript.safetensors", *command)
    assert status == 0, output
    assert f"robust accuracy at most {result['worst']:.2%}, claimed {result['worst']:.2%}" in output
    assert f"clean accuracy {result['clean_accuracy']:.2%}" in output
    assert "agreement: 96 of 96 images" in output
    assert output.splitlines()[-1] == "the claim holds"
    assert 5 < int((transcript.fate == BROKEN).sum()) < 96
    assert not (folder / "out/adversarial.npy").exists()
    assert transcript.facts["judge"]["dtype"] == "float32"


def test_points_are_those_that_the_model_was_judged_on(
    folder: Path, command: list[str], subject: Subject, tmp_path: Path
) -> None:
    target = tmp_path / "t.safetensors"
    run_evaluate(*command, "--output", tmp_path / "out", "--transcript", target,
                 "--keep-adversarial")  # fmt: skip
    assert target.read_bytes() == (folder / "transcript.safetensors").read_bytes()
    kept, found = np.load(tmp_path / "out/adversarial.npy"), Transcript.read(target)
    for places, block in found.broken_blocks():
        x, _ = subject.load(found.ids[places])
        points = decode_points(block, x.numpy(), 24 / 255)
        assert points.tobytes() == kept[places].tobytes()


def test_shares_write_the_same_bytes(folder: Path, command: list[str], tmp_path: Path) -> None:
    for share in ("2/2", "1/2"):
        target = tmp_path / "shared.safetensors"
        run_evaluate(*command, "--output", tmp_path / "shared", "--transcript", target,
                     "--share", share)  # fmt: skip
        assert not target.exists()
    run_evaluate(*command, "--output", tmp_path / "shared", "--transcript", target)
    assert target.read_bytes() == (folder / "transcript.safetensors").read_bytes()


def test_the_sample_of_a_seed_is_named(subject: Subject, tmp_path: Path) -> None:
    target = tmp_path / "t.safetensors"
    settings = EvaluationSettings(attack="pgd40", pass_size=16, seed=3)
    evaluate(subject, tmp_path / "out", settings, transcript=target, limits=Limits(width=80))
    result = verify_transcript(Transcript.read(target), subject)
    assert result.holds
    assert f"the sample of seed 3, {result.num_images} of 96 images of digits" in result.title


def test_a_transcript_is_about_one_perturbation_set(folder: Path, command: list[str]) -> None:
    file = folder / "transcript.safetensors"
    assert verified(file, *command, "--norm", "linf", "--epsilon", "0.0941176470588235294")[0] == 0
    status, output = verified(file, *command, "--norm", "linf", "--epsilon", "8/255")
    assert status == 1
    assert "another perturbation set: linf 8/255 was asked for" in output


def test_the_lower_of_two_cascades_is_recorded(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrobust.evaluation.autoattack.NUM_QUERIES", 20)
    monkeypatch.setattr("pyrobust.evaluation.autoattack._NUM_STEPS", 20)
    settings = EvaluationSettings(
        num_images=24, apgd_ce_steps=1, apgd_dlr_steps=1, apgd_ce_restarts=1, apgd_dlr_restarts=1,
        multitargeted_steps=1, multitargeted_restarts=1, multitargeted_targets=1, autoattack=True,
        pass_size=16,
    )  # fmt: skip
    target = tmp_path / "t.safetensors"
    result = evaluate(subject, tmp_path / "out", settings, transcript=target)
    assert result is not None
    assert result["worst"] < result["robust_accuracy"], "the case tells nothing"
    found = Transcript.read(target)
    assert found.facts["attack"]["name"] == "autoattack"
    verification = verify_transcript(found, subject)
    assert verification.holds
    assert verification.robust_accuracy == result["worst"]


def test_a_randomised_network_has_no_transcript(subject: Subject, tmp_path: Path) -> None:
    noisy = replace(subject, logits_fn=lambda x: subject.logits_fn(x) + 3 * torch.randn(len(x), 10))
    settings = EvaluationSettings(num_images=40, attack="pgd40", pass_size=16)
    with (
        torch.random.fork_rng(),
        pytest.raises(UserError, match=r"classifies .* images differently when asked again"),
    ):
        torch.manual_seed(0)
        evaluate(noisy, tmp_path, settings, transcript=tmp_path / "t.safetensors")
    assert (tmp_path / "evaluation.json").is_file()
    assert not (tmp_path / "t.safetensors").exists()


def test_a_transcript_has_its_own_suffix(command: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the transcript is .*points.npy; use a name"):
        run_evaluate(*command, "--output", tmp_path / "o", "--transcript", tmp_path / "points.npy")


def test_l2_points_are_verified(model_file: Path, digits: Path, tmp_path: Path) -> None:
    subject = Subject.open(
        ModelSource(str(model_file)),
        LabelledImages.of_dataset(digits),
        ThreatSettings(norm="l2", epsilon="1.0"),
        "cpu",
    )
    target = tmp_path / "t.safetensors"
    settings = EvaluationSettings(num_images=24, attack="pgd40", pass_size=16)
    result = evaluate(subject, tmp_path / "out", settings, transcript=target)
    verification = verify_transcript(Transcript.read(target), subject)
    assert result is not None
    assert verification.holds
    assert verification.robust_accuracy == result["worst"] < result["clean_accuracy"]

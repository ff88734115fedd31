"""A transcript shows what it claims, and whatever was changed is named."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from pyrobust.cli import app
from pyrobust.config.evaluation import EvaluationSettings, ThreatSettings
from pyrobust.errors import UserError
from pyrobust.evaluation.evaluate import evaluate
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.evaluation.model_sources import ModelSource
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.transcripts.evidence import BROKEN, STANDING
from pyrobust.evaluation.transcripts.perturbation_codec import decode_points, encode_points
from pyrobust.evaluation.transcripts.transcript import Transcript, TranscriptError, claim_of
from pyrobust.evaluation.transcripts.verification import verify_transcript
from pyrobust.files import read_json
from pyrobust.models import load_model, save_model

ATTACK = ["--batch-size", "50", "--pass-size", "16", "--attack", "pgd40"]


@pytest.fixture(scope="session")
def command(model_file: Path, digits: Path) -> list[str]:
    return ["--model", str(model_file), "--dataset", str(digits)]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def run_evaluate(*arguments: object) -> None:
    result = invoke("evaluate", "--norm", "linf", "--epsilon", "24/255", *ATTACK, *arguments)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="session")
def folder(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an evaluation and of its transcript."""
    folder = tmp_path_factory.mktemp("evaluated")
    target = folder / "transcript.safetensors"
    run_evaluate(*command, "--output", folder / "out", "--transcript", target)
    return folder


@pytest.fixture
def subject(model_file: Path, digits: Path) -> Subject:
    """The network and images of the verifier."""
    threat = ThreatSettings(norm="linf", epsilon="24/255")
    return Subject.open(
        ModelSource(str(model_file)), LabelledImages.of_dataset(digits), threat, "cpu"
    )


@pytest.fixture
def transcript(folder: Path) -> Transcript:
    return Transcript.read(folder / "transcript.safetensors")


def verified(file: Path, *arguments: object) -> tuple[int, str]:
    result = invoke("verify", file, *arguments)
    return result.exit_code, result.output


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


def test_shares_and_killed_runs_write_the_same_bytes(
    folder: Path, command: list[str], tmp_path: Path
) -> None:
    for share in ("2/2", "1/2"):
        target = tmp_path / "shared.safetensors"
        run_evaluate(*command, "--output", tmp_path / "shared", "--transcript", target,
                     "--share", share)  # fmt: skip
        assert not target.exists()
    run_evaluate(*command, "--output", tmp_path / "shared", "--transcript", target)
    assert target.read_bytes() == (folder / "transcript.safetensors").read_bytes()


@pytest.mark.slow
def test_a_killed_run_writes_the_same_bytes(
    folder: Path, command: list[str], tmp_path: Path
) -> None:
    target = tmp_path / "t.safetensors"
    arguments = [*command, "--norm", "linf", "--epsilon", "24/255", *ATTACK]
    arguments += ["--output", str(tmp_path / "out"), "--transcript", str(target)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pyrobust", "evaluate", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None and not list(tmp_path.glob("out/state/*/*.npz")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    assert invoke("evaluate", *arguments).exit_code == 0
    assert (
        Transcript.read(target).fate.tobytes()
        == Transcript.read(folder / "transcript.safetensors").fate.tobytes()
    )
    assert verified(target, *command)[0] == 0


def test_any_changed_byte_is_named(folder: Path, command: list[str], tmp_path: Path) -> None:
    whole = (folder / "transcript.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, data = range(8 + length), range(8 + length, len(whole))
    changed = tmp_path / "t.safetensors"
    for place in [*header[::41], *header[-9:], *data[::397], len(whole) - 1]:
        for flip in (0x01, 0x29, 0x80):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            changed.write_bytes(damaged)
            with pytest.raises(TranscriptError, match=r"t.safetensors"):
                Transcript.read(changed)
    status, output = verified(changed, *command)
    assert status == 1
    assert output.startswith("the claim does not hold: ")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(
    share: float, folder: Path, command: list[str], tmp_path: Path
) -> None:
    whole = (folder / "transcript.safetensors").read_bytes()
    (tmp_path / "t.safetensors").write_bytes(whole[: int(share * len(whole))])
    status, output = verified(tmp_path / "t.safetensors", *command)
    assert status == 1
    assert "is not a complete safetensors file" in output


def test_other_files_are_not_transcripts(
    model_file: Path, folder: Path, command: list[str], tmp_path: Path
) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    (tmp_path / "text.safetensors").write_text("a text")
    for file, words in {
        model_file: "contains {'format': 'pyrobust-model', 'version': 1}, expected",
        tmp_path / "foreign.safetensors": "was not written by pyrobust",
        tmp_path / "text.safetensors": "is not a complete safetensors file",
        folder / "out/evaluation.json": "is not a complete safetensors file",
    }.items():
        status, output = verified(file, *command)
        assert (status, words in output) == (1, True), output


def with_weights(
    model_file: Path, target: Path, change: Callable[[dict[str, Tensor]], None]
) -> Path:
    model, spec = load_model(model_file)
    state = model.state_dict()
    change(state)
    save_model(target, state, spec)
    return target


def test_another_model_of_equal_accuracy_is_named(
    model_file: Path, digits: Path, folder: Path, tmp_path: Path
) -> None:
    def scaled(state: dict[str, Tensor]) -> None:
        # The same classes for every image: only the weights and the size of the logits differ.
        state["logits.weight"] *= 2
        state["logits.bias"] *= 2

    other = with_weights(model_file, tmp_path / "other.safetensors", scaled)
    status, output = verified(
        folder / "transcript.safetensors", "--model", other, "--dataset", digits
    )
    assert status == 1
    assert "another model: its weights have SHA-256" in output
    assert "another margin, of another model or code: 96 images" in output
    assert "points that are classified correctly" not in output


def test_the_same_weights_in_another_code_are_named(
    subject: Subject, transcript: Transcript
) -> None:
    class Code(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = subject.logits_fn

        def state_dict(self, *args, **kwargs):
            return self.inner.state_dict(*args, **kwargs)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.flip(3))

    result = verify_transcript(transcript, replace(subject, logits_fn=Code()))
    assert not result.problems
    assert not result.holds
    assert "another margin, of another model or code" in result.differences


def with_images(
    subject: Subject, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> Subject:
    x, labels = change(*(t.clone() for t in subject.load(range(subject.images.count))))
    return replace(subject, images=LabelledImages.of_tensors(x, labels, 10))


def test_one_changed_pixel_or_label_is_named_by_its_image(
    subject: Subject, transcript: Transcript
) -> None:
    def changed(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        x[17, 0, 3, 4] = torch.nextafter(x[17, 0, 3, 4], torch.tensor(0.5))
        labels[5] = (labels[5] + 1) % 10
        return x, labels

    result = verify_transcript(transcript, with_images(subject, changed))
    assert result.differences["pixels or label differ"] == (5, 17)
    assert result.num_agreeing == 94
    assert not result.holds


def test_images_in_another_order_are_named(subject: Subject, transcript: Transcript) -> None:
    def swapped(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        order = torch.arange(len(x))
        order = order.flip(0)
        return x[order], labels[order]

    result = verify_transcript(transcript, with_images(subject, swapped))
    assert result.problems == ("the images are the same in another order",)
    assert not result.holds


def test_too_few_images_or_others_of_another_shape_are_named(
    subject: Subject, transcript: Transcript
) -> None:
    few = with_images(subject, lambda x, labels: (x[:30], labels[:30]))
    assert verify_transcript(transcript, few).problems == (
        "the images are 30, but the transcript is about image 95",
    )
    wide = with_images(subject, lambda x, labels: (torch.cat([x, x], 3), labels))
    (problem,) = verify_transcript(transcript, wide).problems
    assert problem.startswith("the images have shape (8, 16, 1)")


def forged(transcript: Transcript, **changes) -> Transcript:
    """Return another transcript whose claim fits its images."""
    changed = replace(transcript, **changes)
    return replace(changed, facts={**changed.facts, "claim": claim_of(changed.fate)})


def with_points(
    transcript: Transcript, subject: Subject, change: Callable[[np.ndarray], np.ndarray]
) -> Transcript:
    blocks = []
    for places, block in transcript.broken_blocks():
        x = subject.load(transcript.ids[places])[0].numpy()
        blocks.append(encode_points(change(decode_points(block, x, 24 / 255)), x, 24 / 255))
    return forged(transcript, blocks=tuple(blocks))


def test_a_forged_point_does_not_count(
    subject: Subject, transcript: Transcript, tmp_path: Path
) -> None:
    first = int(np.flatnonzero(transcript.fate == BROKEN)[0])
    clean = subject.load(transcript.ids)[0].numpy()

    def moved(points: np.ndarray) -> np.ndarray:
        points[0] = np.clip(clean[first] + np.float32(0.2), 0, 1)
        return points

    def unmoved(points: np.ndarray) -> np.ndarray:
        points[0] = clean[first]
        return points

    honest = verify_transcript(transcript, subject)
    for change, words in {
        moved: "points outside the ball or [0, 1]",
        unmoved: "points that are classified correctly",
    }.items():
        # As a careful forger writes it: with a checksum that fits.
        with_points(transcript, subject, change).write(tmp_path / "t.safetensors")
        result = verify_transcript(Transcript.read(tmp_path / "t.safetensors"), subject)
        assert result.differences[words] == (first,)
        assert not result.holds
        assert result.robust_accuracy == pytest.approx(honest.robust_accuracy + 1 / 96)


def test_a_fate_that_is_not_so_is_named(subject: Subject, transcript: Transcript) -> None:
    wrong = int(np.flatnonzero(transcript.fate == 1)[0])
    fate = transcript.fate.copy()
    fate[wrong] = STANDING
    result = verify_transcript(forged(transcript, fate=fate), subject)
    assert result.differences == {"classified differently without an attack": (wrong,)}


def test_a_claim_that_its_own_images_contradict_is_not_a_transcript(
    transcript: Transcript, tmp_path: Path
) -> None:
    claim = {**transcript.facts["claim"], "num_standing": 0}
    bad = replace(transcript, facts={**transcript.facts, "claim": claim})
    bad.write(tmp_path / "t.safetensors")
    with pytest.raises(TranscriptError, match=r"contradicts itself .*num_standing"):
        Transcript.read(tmp_path / "t.safetensors")
    replace(transcript, ids=transcript.ids[::-1].copy()).write(tmp_path / "t.safetensors")
    with pytest.raises(TranscriptError, match=r"ids do not ascend"):
        Transcript.read(tmp_path / "t.safetensors")


def test_points_within_rounding_are_not_decided(subject: Subject, transcript: Transcript) -> None:
    """As the logits of another device would be, with the margin of two points near zero."""
    broken = np.flatnonzero(transcript.fate == BROKEN)[:2]
    x, _ = subject.load(transcript.ids[broken])
    places, block = next(transcript.broken_blocks())
    images = subject.load(transcript.ids[places])[0]
    points = torch.from_numpy(decode_points(block, images.numpy(), 24 / 255))[:2]
    assert len(x) == 2

    class Elsewhere(nn.Module):
        def state_dict(self, *args, **kwargs):
            return subject.logits_fn.state_dict(*args, **kwargs)

        def forward(self, x: Tensor) -> Tensor:
            logits = subject.logits_fn(x)
            for point in points:
                here = (x == point).flatten(1).all(1)
                top = logits.topk(2).values
                tie = logits.clone().scatter(1, logits.argmax(1, True), top[:, 1:] + 1e-6)
                logits = torch.where(here[:, None], tie, logits)
            return logits

    elsewhere = replace(subject, logits_fn=Elsewhere())
    margin = transcript.margin.copy()
    margin[:2] = 0
    result = verify_transcript(replace(transcript, margin=margin), elsewhere)
    assert result.not_decided == tuple(map(int, transcript.ids[broken]))
    assert result.robust_accuracy - result.lowest_accuracy == pytest.approx(2 / 96)
    assert not result.differences
    assert not result.holds  # two of 96 are more than one image and 1 %
    assert list(result.lines())[-1] == "the claim is open: too many images are not decided"


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

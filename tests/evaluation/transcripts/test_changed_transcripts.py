"""Whatever was changed in a transcript, its model or its images is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.transcripts.evidence import BROKEN, STANDING
from pyrobust.evaluation.transcripts.perturbation_codec import decode_points, encode_points
from pyrobust.evaluation.transcripts.transcript import (
    Transcript,
    TranscriptError,
    _content_sha256,
    claim_of,
)
from pyrobust.evaluation.transcripts.verification import verify_transcript
from pyrobust.models import load_model, save_model
from pyrobust.tensors import read_tensors, write_tensors
from tests.evaluation.transcripts.commands import verified


def test_any_changed_byte_is_named(folder: Path, command: list[str], tmp_path: Path) -> None:
    whole = (folder / "transcript.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, data = range(8 + length), range(8 + length, len(whole))
    changed = tmp_path / "t.safetensors"
    for place in [*header[::41], *header[-9:], *data[::397], len(whole) - 1]:
        for flip in (0x01, 0x20, 0x80):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            changed.write_bytes(damaged)
            with pytest.raises(TranscriptError, match=r"t.safetensors"):
                Transcript.read(changed)
    status, output = verified(changed, *command)
    assert status == 1
    assert output.startswith("the claim does not hold: ")


@pytest.mark.parametrize(("spelled", "changed"), [(b"1e-06", b"1E-06"), (b"00e9", b"00E9")])
def test_another_spelling_of_the_same_value_is_named(
    spelled: bytes, changed: bytes, transcript: Transcript, tmp_path: Path
) -> None:
    settings = {**transcript.facts["attack"]["settings"], "step": 1e-6}
    attack = {**transcript.facts["attack"], "name": "été", "settings": settings}
    path = tmp_path / "t.safetensors"
    replace(transcript, facts={**transcript.facts, "attack": attack}).write(path)
    Transcript.read(path)
    whole = path.read_bytes()
    assert spelled in whole
    path.write_bytes(whole.replace(spelled, changed, 1))
    with pytest.raises(TranscriptError, match="has changed since it was written"):
        Transcript.read(path)


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
    assert "the margin differs: another model or other code: 96 images" in output
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
    assert "the margin differs: another model or other code" in result.differences


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
    found = verify_transcript(transcript, few)
    assert found.problems == ("the images are 30, but the transcript refers to image 95",)
    assert found.num_agreeing == 0 and np.isnan(found.robust_accuracy)
    assert not found.holds and not any("accuracy" in line for line in found.lines())
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


@pytest.mark.parametrize(("count", "margin_here"), [(2, 1e-6), (1, 1e-6), (2, -1e-6)])
def test_points_within_rounding_show_a_claim_only_if_they_are_misclassified(
    count: int, margin_here: float, subject: Subject, transcript: Transcript
) -> None:
    """As the logits of another device would be, with the margin of a few points near zero."""
    broken = np.flatnonzero(transcript.fate == BROKEN)[:count]
    places, block = next(transcript.broken_blocks())
    images = subject.load(transcript.ids[places])[0]
    points = torch.from_numpy(decode_points(block, images.numpy(), 24 / 255))[:count]

    class Elsewhere(nn.Module):
        def state_dict(self, *args, **kwargs):
            return subject.logits_fn.state_dict(*args, **kwargs)

        def forward(self, x: Tensor) -> Tensor:
            logits = subject.logits_fn(x)
            for point in points:
                here = (x == point).flatten(1).all(1)
                top = logits.topk(2).values
                tie = logits.clone().scatter(1, logits.argmax(1, True), top[:, 1:] - margin_here)
                logits = torch.where(here[:, None], tie, logits)
            return logits

    elsewhere = replace(subject, logits_fn=Elsewhere())
    margin = transcript.margin.copy()
    margin[:count] = 0
    result = verify_transcript(replace(transcript, margin=margin), elsewhere)
    assert not result.differences
    assert result.claimed is not None
    if margin_here < 0:
        assert result.holds
        assert (result.robust_accuracy, result.not_decided) == (result.claimed, ())
        return
    assert result.not_decided == tuple(map(int, transcript.ids[broken]))
    assert result.robust_accuracy - result.claimed == pytest.approx(count / 96)
    assert result.lowest_accuracy == pytest.approx(result.claimed)
    assert not result.holds
    last = "the claim is open: it rests on images that are not decided"
    assert list(result.lines())[-1] == last


def test_points_that_cannot_be_decoded_count_as_robust(
    subject: Subject, transcript: Transcript
) -> None:
    blocks = tuple(b"nothing" for _ in transcript.blocks)
    result = verify_transcript(replace(transcript, blocks=blocks), subject)
    broken = transcript.ids[transcript.fate == BROKEN]
    assert result.differences == {"points that cannot be decoded": tuple(map(int, broken))}
    assert result.robust_accuracy == result.clean_accuracy
    assert not result.holds


def only(transcript: Transcript, places: np.ndarray) -> Transcript:
    """Return a transcript about the images at `places`, which are not broken."""
    columns = ("ids", "digests", "fate", "clean_margin")
    parts = {name: getattr(transcript, name)[places] for name in columns}
    return forged(transcript, **parts, margin=transcript.margin[:0], blocks=())


def test_hand_picked_images_are_named(subject: Subject, transcript: Transcript) -> None:
    def title(part: Transcript) -> str:
        return verify_transcript(part, subject).title

    assert "linf 24/255, images 0 to 95 of digits (test), pgd40" in title(transcript)
    kept = np.flatnonzero(transcript.fate != BROKEN)
    assert f"linf 24/255, {len(kept)} chosen images of digits" in title(only(transcript, kept))


def test_a_forged_name_adds_no_line(subject: Subject, transcript: Transcript) -> None:
    attack = {**transcript.facts["attack"], "name": "aa_mt\nthe claim holds\x1b[2J"}
    named = replace(transcript, facts={**transcript.facts, "attack": attack})
    title = next(verify_transcript(named, subject).lines())
    assert r"aa_mt\nthe claim holds\x1b[2J; judged on" in title


NO_VALUE = object()


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("attack", None, NO_VALUE),
        ("attack", "name", 3),
        ("attack", "settings", {"seed": 0.0}),
        ("attack", "settings", {"seed": 0, "num_images": "9"}),
        ("judge", "device", NO_VALUE),
        ("judge", "pass_size", True),
        ("images", "shape", 5),
        ("images", "shape", [8, 8]),
        ("images", "sha256", None),
        ("model", "weights_sha256", NO_VALUE),
        ("threat", None, 7),
        ("claim", None, []),
    ],
)
def test_forged_facts_are_refused_in_one_sentence(
    group: str, key: str | None, value: object, transcript: Transcript, tmp_path: Path
) -> None:
    facts = {**transcript.facts}
    inner = facts if key is None else {**facts[group]}
    if key is not None:
        facts[group] = inner
    inner[key or group] = value
    if value is NO_VALUE:
        del inner[key or group]
    replace(transcript, facts=facts).write(tmp_path / "t.safetensors")
    with pytest.raises(TranscriptError, match="contradicts itself"):
        Transcript.read(tmp_path / "t.safetensors")


def test_a_transcript_of_no_images_or_of_other_types_is_refused(
    transcript: Transcript, tmp_path: Path
) -> None:
    file = tmp_path / "t.safetensors"
    columns = ("ids", "digests", "fate", "clean_margin", "margin")
    nothing = {name: getattr(transcript, name)[:0] for name in columns}
    forged(transcript, **nothing, blocks=()).write(file)
    with pytest.raises(TranscriptError, match="it is about no image"):
        Transcript.read(file)
    tensors, facts = read_tensors(file, "")
    write_tensors(file, {**tensors, "margin": torch.zeros(3, dtype=torch.bfloat16)}, facts)
    with pytest.raises(TranscriptError, match="cannot be read"):
        Transcript.read(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"more": torch.zeros(1)}, "its tensors are clean_margin, .* margin, more, expected"),
        ({"points.999999": torch.zeros(9, dtype=torch.uint8)}, "blocks of points for"),
        ({"ids": torch.tensor([0, 0, *range(2, 96)])}, "ids do not ascend"),
        ({"ids": torch.arange(96).flip(0)}, "ids do not ascend"),
        ({"ids": torch.arange(96) - 1}, "ids do not ascend from 0"),
        ({"ids": torch.tensor(3)}, r"ids is int64 \(\), expected int64"),
        ({"ids": torch.arange(96.0)}, r"ids is float32 \(96,\), expected int64 \(96,\)"),
    ],
)
def test_forged_tensors_with_a_checksum_that_fits_are_refused(
    changes: dict[str, Tensor], message: str, folder: Path, tmp_path: Path
) -> None:
    tensors, facts = read_tensors(folder / "transcript.safetensors", "")
    tensors |= changes
    facts["content_sha256"] = _content_sha256(
        {key: fact for key, fact in facts.items() if key != "content_sha256"}, tensors
    )
    write_tensors(tmp_path / "t.safetensors", tensors, facts)
    with pytest.raises(TranscriptError, match=message):
        Transcript.read(tmp_path / "t.safetensors")

"""Verify a transcript, or images from other tools, by one forward pass for each point."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrobust.attacks import FixedPasses, ThreatModel
from pyrobust.evaluation.anytime import sample_order
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.transcripts.evidence import (
    BROKEN,
    MISCLASSIFIED,
    Verdict,
    image_digests,
    judge_points,
    weights_sha256,
)
from pyrobust.evaluation.transcripts.perturbation_codec import decode_points
from pyrobust.evaluation.transcripts.transcript import Transcript

# A margin within this share of the largest logit is not decided: devices and batch sizes round
# less than this apart, another network does not.
ROUNDING = 1e-4
# A claim in percent is rounded to two decimals.
_HALF_DIGIT = 0.5e-4
# Images of a forward pass, where no transcript states it.
_PASS_SIZE = 128


@dataclass(frozen=True)
class Verification:
    """What verifying found.

    Attributes:
        num_images: N.
        claimed: robust accuracy that the file claims, in [0, 1]; None if it claims none.
        clean_accuracy: recomputed.
        robust_accuracy: recomputed; images that are not decided count as robust.
        lowest_accuracy: the same, if all of them are broken.
        num_agreeing: images of which everything agrees with the file; 0, and accuracies of NaN,
            if the images are too few or of another shape, so that nothing could be recomputed.
        not_decided: ids of images whose margin is within rounding of zero, and which this model
            classifies otherwise than the file claims.
        differences: what differs → ids of the images.
        problems: what is wrong with the file as a whole.
    """

    title: str
    num_images: int
    claimed: float | None
    clean_accuracy: float
    robust_accuracy: float
    lowest_accuracy: float
    num_agreeing: int
    not_decided: tuple[int, ...] = ()
    differences: dict[str, tuple[int, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the claim holds: nothing differs, and the points show what is claimed."""
        return not (self.problems or self.differences or self._is_open)

    @property
    def _is_open(self) -> bool:
        """Whether the claim rests on images that are not decided."""
        return self.claimed is not None and self.robust_accuracy > self.claimed + _HALF_DIGIT

    def lines(self) -> Iterator[str]:
        """Yield what was found, a line each; the verdict comes last."""
        yield self.title
        if not math.isnan(self.clean_accuracy):
            yield f"clean accuracy {self.clean_accuracy:.2%}"
            claimed = "" if self.claimed is None else f", claimed {self.claimed:.2%}"
            yield f"robust accuracy at most {self.robust_accuracy:.2%}{claimed}"
        yield f"agreement: {self.num_agreeing:,} of {self.num_images:,} images"
        if self.not_decided:
            yield (
                f"not decided, margin within rounding ({ROUNDING:g} of the largest logit): "
                f"{_listed(self.not_decided)}; robust accuracy {self.lowest_accuracy:.2%} if "
                "they are broken"
            )
        for what, ids in self.differences.items():
            yield f"{what}: {_listed(ids)}"
        yield from self.problems
        if self.holds:
            yield "the claim holds"
        elif self.problems or self.differences:
            yield "the claim does not hold"
        else:
            yield "the claim is open: it rests on images that are not decided"


def _listed(ids: tuple[int, ...]) -> str:
    return f"{len(ids):,} images ({', '.join(map(str, ids))})"


class _Findings:
    """What was found about N images so far."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self.ids = ids
        self.correct = np.zeros(len(ids), dtype=bool)
        self.standing = np.zeros(len(ids), dtype=bool)
        self.open = np.zeros(len(ids), dtype=bool)
        self.differs: dict[str, NDArray[np.bool_]] = {}

    def note(self, what: str, places: NDArray[np.int64]) -> None:
        """Note that something differs at `places`."""
        self.differs.setdefault(what, np.zeros(len(self.ids), dtype=bool))[places] = True

    def result(self, title: str, claimed: float | None, problems: tuple[str, ...]) -> Verification:
        differing = np.zeros(len(self.ids), dtype=bool)
        for mask in self.differs.values():
            differing |= mask
        undecided = self.open & ~differing
        standing = self.standing | undecided
        count = max(len(self.ids), 1)
        differences = {
            what: tuple(map(int, self.ids[mask]))
            for what, mask in self.differs.items()
            if mask.any()
        }
        return Verification(
            title=title,
            num_images=len(self.ids),
            claimed=claimed,
            clean_accuracy=float(self.correct.sum() / count),
            robust_accuracy=float(standing.sum() / count),
            lowest_accuracy=float((standing & ~undecided).sum() / count),
            num_agreeing=int((~differing & ~undecided).sum()),
            not_decided=tuple(map(int, self.ids[undecided])),
            differences=differences,
            problems=problems,
        )


def verify_transcript(transcript: Transcript, subject: Subject) -> Verification:
    """Recompute everything that a transcript claims.

    Args:
        subject: the model and the images of the verifier, under any perturbation set: that of the
            transcript counts.
    """
    facts, threat = transcript.facts, transcript.threat
    passes = FixedPasses(subject.logits_fn, facts["judge"]["pass_size"])
    ball = ThreatModel(threat.norm, transcript.epsilon)
    problems = list(_problems(transcript, subject))
    found = _Findings(transcript.ids)
    title = _visible(
        f"{threat.norm} {threat.epsilon}, {_which(transcript, subject.images.count)} of "
        f"{facts['images']['name']} ({facts['images']['split']}), {facts['attack']['name']}; "
        f"judged on {facts['judge']['device']}"
    )
    claimed = facts["claim"]["num_standing"] / len(transcript.ids)
    if any(problem.startswith(_NO_IMAGES) for problem in problems):
        return Verification(
            title=title,
            num_images=len(transcript.ids),
            claimed=claimed,
            clean_accuracy=math.nan,
            robust_accuracy=math.nan,
            lowest_accuracy=math.nan,
            num_agreeing=0,
            problems=tuple(problems),
        )
    _verify_images(transcript, subject, passes, found)
    for places, block in transcript.broken_blocks():
        _verify_points(transcript, subject, passes, ball, places, block, found)
    if np.any(found.differs.get(_IMAGE, False)) and _reordered(transcript, subject):
        problems.append("the images are the same in another order")
    return found.result(title, claimed, tuple(problems))


def _visible(text: str) -> str:
    """Return the text of a file with line breaks and other control characters spelled out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _which(transcript: Transcript, count: int) -> str:
    """Return which of `count` images a transcript is about, in words."""
    ids, settings = transcript.ids, transcript.facts["attack"]["settings"]
    if ids[-1] == len(ids) - 1:
        return f"images 0 to {len(ids) - 1:,}"
    population = min(settings.get("num_images") or count, count)
    sample = sample_order(population, settings["seed"])[: len(ids)]
    if np.array_equal(np.sort(sample), ids):
        first = f"the first {population:,}" if population < count else f"{count:,}"
        return f"the sample of seed {settings['seed']}, {len(ids):,} of {first} images"
    return f"{len(ids):,} chosen images"


_IMAGE = "pixels or label differ"
_NO_IMAGES = "the images"


def _problems(transcript: Transcript, subject: Subject) -> Iterator[str]:
    """Yield what is wrong with the transcript as a whole for this model and these images."""
    facts, images = transcript.facts, subject.images
    weights = weights_sha256(subject.logits_fn)
    if weights != facts["model"]["weights_sha256"]:
        yield (
            f"another model: its weights have SHA-256 {weights}, those of the transcript "
            f"{facts['model']['weights_sha256']}"
        )
    if list(images.image_shape) != list(facts["images"]["shape"]):
        yield (
            f"{_NO_IMAGES} have shape {images.image_shape}, those of the transcript "
            f"{tuple(facts['images']['shape'])}"
        )
    elif len(transcript.ids) and images.count <= transcript.ids[-1]:
        yield (
            f"{_NO_IMAGES} are {images.count:,}, but the transcript refers to image "
            f"{transcript.ids[-1]:,}"
        )


def _verify_images(
    transcript: Transcript, subject: Subject, passes: FixedPasses, found: _Findings
) -> None:
    for start in range(0, len(transcript.ids), passes.pass_size):
        places = np.arange(start, min(start + passes.pass_size, len(transcript.ids)))
        x, labels = subject.load(transcript.ids[places])
        verdict = judge_points(passes, x, labels)
        found.correct[places] = verdict.correct
        fate = transcript.fate[places]
        found.standing[places] = verdict.correct & (fate != BROKEN)
        other = (image_digests(x, labels) != transcript.digests[places]).any(1)
        found.note(_IMAGE, places[other])
        near = _is_open(verdict)
        wrong = verdict.correct != (fate != MISCLASSIFIED)
        found.open[places] = wrong & near
        found.note("classified differently without an attack", places[wrong & ~near & ~other])
        moved = _moved(verdict, transcript.clean_margin[places])
        found.note("the margin differs: another model or other code", places[moved & ~other])


def _verify_points(
    transcript: Transcript,
    subject: Subject,
    passes: FixedPasses,
    ball: ThreatModel,
    places: NDArray[np.int64],
    block: bytes,
    found: _Findings,
) -> None:
    x, labels = subject.load(transcript.ids[places])
    images = x.cpu()
    try:
        decoded = decode_points(block, images.numpy(), ball.epsilon)
    except ValueError:
        found.note("points that cannot be decoded", places)
        found.standing[places] = found.correct[places]
        return
    points = torch.from_numpy(decoded)
    # A point of another image is none of this one: its difference is already noted.
    same = ~found.differs[_IMAGE][places]
    inside = ball.contains(points, images).numpy()
    found.note("points outside the ball or [0, 1]", places[~inside & same])
    verdict = judge_points(passes, points.to(x.device), labels)
    near = _is_open(verdict)
    found.open[places] = near & verdict.correct
    found.standing[places] = verdict.correct & found.correct[places]
    found.standing[places[~inside]] = found.correct[places[~inside]]
    found.note("points that are classified correctly", places[verdict.correct & ~near & same])
    first = int((transcript.fate[: places[0]] == BROKEN).sum())
    moved = _moved(verdict, transcript.margin[first : first + len(places)])
    found.note("the margin differs: another model or other code", places[moved & same])


def _is_open(verdict: Verdict) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(verdict.margin) <= ROUNDING * verdict.scale
    return near


def _moved(verdict: Verdict, stated: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which margins differ from the stated ones by more than rounding."""
    same = verdict.margin == stated  # infinite ones, too
    with np.errstate(invalid="ignore"):
        near = np.abs(verdict.margin - stated) <= ROUNDING * verdict.scale
    moved: NDArray[np.bool_] = ~(same | near)
    return moved


def _reordered(transcript: Transcript, subject: Subject) -> bool:
    """Whether the images are those of the transcript in another order."""
    here = [
        image_digests(*subject.load(transcript.ids[start : start + _PASS_SIZE]))
        for start in range(0, len(transcript.ids), _PASS_SIZE)
    ]
    ours, theirs = (
        sorted(map(bytes, digests)) for digests in (np.concatenate(here), transcript.digests)
    )
    return ours == theirs


def verify_points(
    points: Tensor, subject: Subject, claimed: float | None, source: str
) -> Verification:
    """Verify adversarial images from other tools.

    Args:
        points: (N, C, H, W) float32, those of the first N images of `subject`; images that were
            not broken may be unchanged.
        claimed: the robust accuracy that they are said to show, in [0, 1].
        source: where they come from, for the title.
    """
    count, close, threat = len(points), 0, subject.threat
    passes = FixedPasses(subject.logits_fn, _PASS_SIZE)
    found = _Findings(np.arange(count))
    for start in range(0, count, _PASS_SIZE):
        places = np.arange(start, min(start + _PASS_SIZE, count))
        x, labels = subject.load(places)
        images, here = x.cpu(), points[places]
        clean, adversarial = (judge_points(passes, p.to(x.device), labels) for p in (images, here))
        inside = threat.contains(here, images).numpy()
        found.correct[places] = clean.correct
        found.standing[places] = clean.correct & (adversarial.correct | ~inside)
        found.open[places] = found.standing[places] & _is_open(adversarial)
        # Broken here, but perhaps not where the accuracy was computed.
        near = _is_open(clean) | (clean.correct & _is_open(adversarial))
        close += int((near & ~found.standing[places]).sum())
        found.note("points outside the ball or [0, 1]", places[~inside])
    settings = subject.threat_settings
    title = (
        f"{source}: {settings.norm} {settings.epsilon}, images 0 to {count - 1:,} of "
        f"{subject.images.name} ({subject.images.split})"
    )
    result = found.result(title, claimed, ())
    return result if claimed is None else _with_claim(result, claimed, close / count)


def _with_claim(result: Verification, claimed: float, close: float) -> Verification:
    """Return the result with a problem if the points contradict the claimed accuracy.

    Args:
        close: the share of images that are broken by less than rounding.
    """
    low, high = result.lowest_accuracy - _HALF_DIGIT, result.robust_accuracy + close + _HALF_DIGIT
    if low <= claimed <= high:
        return result
    words = (
        f"a robust accuracy of {claimed:.2%} was claimed, but the points show "
        f"{result.robust_accuracy:.2%}"
    )
    return replace(result, problems=(words,))

"""One entry for every file of an attack's points: transcripts, and images from other tools."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pyrobust.config import parse_epsilon
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.config.fields import is_number
from pyrobust.errors import UserError
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.transcripts.others_points import SUFFIXES, read_points
from pyrobust.evaluation.transcripts.transcript import Transcript
from pyrobust.evaluation.transcripts.verification import (
    Verification,
    verify_points,
    verify_transcript,
)


def verify_file(
    path: Path,
    open_subject: Callable[[ThreatSettings], Subject],
    threat: ThreatSettings | None = None,
    claimed: float | None = None,
) -> Verification:
    """Verify a transcript, or adversarial images in a `.npy` or `.pt` file.

    Args:
        open_subject: opens the model and the images of the verifier.
        threat: required for images from other tools; a transcript must agree
            with it, if it is given.
        claimed: robust accuracy that images from other tools are said to show, in [0, 1].

    Raises:
        TranscriptError: the file is not a transcript, or has changed.
        UserError: a file is missing or of another kind, or an argument does not fit it.
    """
    if path.suffix.lower() in SUFFIXES:
        if threat is None:
            raise UserError(
                f"{path} does not state its perturbation set: give --norm and --epsilon"
            )
        if claimed is not None and not (is_number(claimed) and 0 <= claimed <= 1):
            raise UserError(f"claimed is {claimed!r}, expected a robust accuracy in [0, 1]")
        subject = open_subject(threat)
        points = read_points(path, subject.images.image_shape, subject.images.count)
        return verify_points(points, subject, claimed, path.name)
    if claimed is not None:
        raise UserError("a transcript states its own claim: omit --claimed")
    transcript = Transcript.read(path)
    result = verify_transcript(transcript, open_subject(transcript.threat))
    if threat is None or _same(threat, transcript.threat):
        return result
    problem = (
        f"another perturbation set: {threat.norm} {threat.epsilon} was asked for, the transcript "
        f"is about {transcript.threat.norm} {transcript.threat.epsilon}"
    )
    return replace(result, problems=(*result.problems, problem))


def _same(one: ThreatSettings, other: ThreatSettings) -> bool:
    return one.norm == other.norm and parse_epsilon(one.epsilon) == parse_epsilon(other.epsilon)

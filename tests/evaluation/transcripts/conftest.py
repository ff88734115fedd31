"""An evaluation of the small network, and its transcript."""

from pathlib import Path

import pytest

from pyrobust.config.evaluation import ThreatSettings
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.evaluation.model_sources import ModelSource
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.transcripts.transcript import Transcript
from tests.evaluation.transcripts.commands import run_evaluate


@pytest.fixture(scope="session")
def command(model_file: Path, digits: Path) -> list[str]:
    return ["--model", str(model_file), "--dataset", str(digits)]


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

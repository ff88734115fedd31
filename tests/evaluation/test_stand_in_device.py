"""An evaluation whose device is not the host: it attacks, checks and verifies as on the host."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pyrobust.config.evaluation import EvaluationSettings, ThreatSettings
from pyrobust.evaluation import logits_model
from pyrobust.evaluation.evaluate import evaluate
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.evaluation.logits_model import LogitsModel
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.transcripts.transcript import Transcript
from pyrobust.evaluation.transcripts.verification import verify_transcript
from tests.stand_in_device import stand_in_device

SHAPE, CLASSES = (3, 6, 8), 3
THREAT = ThreatSettings(norm="linf", epsilon="0.03")
SETTINGS = EvaluationSettings(
    apgd_ce_steps=4,
    apgd_ce_restarts=1,
    apgd_dlr_steps=4,
    apgd_dlr_restarts=1,
    multitargeted_steps=4,
    multitargeted_restarts=1,
    pass_size=4,
    batch_size=6,
)


def subject_on(device: torch.device) -> Subject:
    """Return a network without training that is correct on eight images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(192, CLASSES)
        )
    network.requires_grad_(False)
    pixels = np.random.default_rng(0).integers(0, 256, (8, *SHAPE), np.uint8)
    x = torch.from_numpy(pixels)
    images = LabelledImages.of_tensors(x, network(x.float() / 255).argmax(1), CLASSES)
    image = torch.full((1, *SHAPE), 0.5, device=device)
    model = LogitsModel(network.to(device), "the network", image, CLASSES).to(device)
    identity = {"images": images.sha256, "network": {"sha256": ["0"]}}
    return Subject(model, CLASSES, images, THREAT, str(device), identity)


def evaluated(device: torch.device, folder: Path) -> tuple[dict[str, Any], bytes, list[str]]:
    """Return the result, its rows, and what verifying its transcript finds."""
    subject, transcript = subject_on(device), folder / "points.safetensors"
    result = evaluate(subject, folder, SETTINGS, transcript=transcript)
    assert result is not None
    found = verify_transcript(Transcript.read(transcript), subject)
    return result, (folder / "rows.parquet").read_bytes(), list(found.lines())


def test_an_evaluation_on_a_device_is_that_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logits_model, "_is_plain", lambda tensor: True)  # the device says "meta"
    result, rows, verified = evaluated(torch.device("cpu"), tmp_path / "host")
    assert 0 < result["robust_accuracy"] < result["clean_accuracy"] == 1
    assert verified[-1] == "the claim holds"
    with stand_in_device() as device:
        there = evaluated(device, tmp_path / "device")
    assert there[:2] == (result, rows)
    assert there[2] == [line.replace("judged on cpu", "judged on meta") for line in verified]

"""On real images a trained network keeps as many under our attacks as under the public ones."""

from pathlib import Path

import pytest
import torch

from pyrobust import ops
from pyrobust.attacks import ApgdSettings, FixedPasses, apgd
from pyrobust.attacks.threat_model import is_broken
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.evaluation.model_sources import ModelSource
from pyrobust.evaluation.model_under_test import Subject
from tests.attacks.public import public_walk

NUM_IMAGES = 1000


@pytest.mark.parametrize(
    ("norm", "epsilon", "loss"), [("linf", "16/255", "cross_entropy"), ("l2", "0.5", "dlr")]
)
def test_of_a_thousand_images_at_most_one_ends_otherwise(
    norm: str, epsilon: str, loss: str, model_file: Path, digits: Path
) -> None:
    threat = ThreatSettings(norm=norm, epsilon=epsilon)
    subject = Subject.open(
        ModelSource(str(model_file)), LabelledImages.of_dataset(digits, "train"), threat, "cpu"
    )
    x, labels = subject.load(range(NUM_IMAGES))
    right = torch.nonzero(~is_broken(subject.logits_fn(x), labels)).flatten()
    x, labels = x[right], labels[right]
    settings = ApgdSettings(subject.threat, loss, num_steps=50, num_restarts=1)
    start = ops.random_start(x, right, subject.threat.epsilon, norm, 0, 0, on_boundary=True)
    theirs, _ = public_walk(subject.logits_fn, x, labels, start, settings)

    passes = FixedPasses(subject.logits_fn, 128)
    ours = ~is_broken(passes(apgd(passes, x, labels, right, settings, seed=0)), labels)
    assert 0.1 * NUM_IMAGES < theirs.sum() < len(right) - 0.1 * NUM_IMAGES, "the case tells nothing"
    assert abs(int(ours.sum()) - int(theirs.sum())) <= NUM_IMAGES / 1000

"""A small data set and a small network that knows a good part of it."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from pyrobust.config.data import DatasetSettings
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.data import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.evaluation.model_sources import ModelSource
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.models import ModelSpec, build_model, save_model

SPEC = ModelSpec("wrn-10-1", "silu", 10, (8, 8, 1), (0.3,), (0.37,))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the digits data set, with 96 test images."""
    folder = tmp_path_factory.mktemp("digits")
    settings = DatasetSettings(layout="digits", validation_size=64, test_size=96)
    make_dataset("digits", Path("none"), folder, settings)
    return folder


@pytest.fixture(scope="session")
def model_file(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a wrn-10-1 after forty batches of noisy digits."""
    train = Dataset.open(digits).train
    x = torch.from_numpy(train.images()).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(train.labels())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(SPEC)
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        model.train()
        for _ in range(40):
            rows = torch.randint(len(x), (64,))
            noisy = (x[rows] + 0.1 * torch.randn_like(x[rows])).clamp(0, 1)
            optimizer.zero_grad()
            F.cross_entropy(model(noisy), labels[rows]).backward()
            optimizer.step()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, model, SPEC)
    return path


@pytest.fixture
def subject(model_file: Path, digits: Path) -> Subject:
    """That network on the test images, under a ball that breaks some of them."""
    threat = ThreatSettings(norm="linf", epsilon="16/255")
    return Subject.open(
        ModelSource(str(model_file)), LabelledImages.of_dataset(digits), threat, "cpu"
    )

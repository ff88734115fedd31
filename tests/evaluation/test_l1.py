"""Evaluations in the l1 ball, from the command line, the configuration and Python."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import pyrobust
from pyrobust.cli import app
from pyrobust.config import parse_settings
from pyrobust.config.evaluation import LandscapeSettings, ThreatSettings
from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError
from pyrobust.evaluation import autoattack
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.evaluation.loss_landscape import write_landscape
from pyrobust.evaluation.model_under_test import Subject

EPSILON = 0.6


@pytest.fixture
def known(model_file: Path, digits: Path) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Return the model and 24 images with their labels."""
    images = LabelledImages.of_dataset(digits)
    model = pyrobust.load(model_file, (1, 8, 8), device="cpu")
    return model, *images.load(range(24), "cpu")


def test_aa_mt_is_at_least_as_strong_as_single_attacks(known: Any, model_file: Path) -> None:
    model, x, labels = known
    steps = {"apgd_ce_restarts": 1, "apgd_dlr_restarts": 1, "apgd_ce_steps": 50,
             "apgd_dlr_steps": 50, "multitargeted_restarts": 1,
             "multitargeted_steps": 40}  # fmt: skip
    result = pyrobust.evaluate(
        model_file, x, labels, norm="l1", epsilon=EPSILON, device="cpu", **steps
    )
    norms = (result.adversarial.double() - x.double()).abs().flatten(1).sum(1)
    assert norms.max() <= EPSILON + 1e-6
    assert norms.max() > EPSILON * 0.9
    assert 0 < result.robust_accuracy < result.clean_accuracy, "the case tells nothing"
    for method in ("apgd_ce", "multitargeted", "pgd40"):
        steps = {} if method == "pgd40" else {"steps": 40}
        x_adv = pyrobust.attack(
            model_file, x, labels, norm="l1", epsilon=EPSILON, method=method, device="cpu", **steps
        )
        standing = (model(x_adv).argmax(1) == labels).double().mean()
        assert standing >= result.robust_accuracy - 1 / 24
        assert standing < result.clean_accuracy


def test_autoattack_runs_all_four_attacks(
    known: Any, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoattack, "NUM_QUERIES", 40)
    _, x, labels = known
    adversary = pyrobust.AutoAttack(
        pyrobust.load(model_file, (1, 8, 8), device="cpu").network, norm="L1", eps=EPSILON,
        verbose=False, device="cpu",
    )  # fmt: skip
    x_adv = adversary.run_standard_evaluation(x[:8], labels[:8])
    stages = [stage["attack"] for stage in adversary.result.stages]
    assert stages[0] == "APGD on cross entropy, 5 × 100 steps"
    assert stages[1] == "APGD on targeted DLR, 1 × 100 steps for each of 5 targets"
    assert [s["name"] for s in adversary.result.stages] == ["apgd_ce", "apgd_t", "fab_t", "square"]
    assert not any("refused" in note for note in adversary.result.summary["notes"])
    assert ((x_adv - x[:8]).abs().flatten(1).sum(1) <= EPSILON + 1e-5).all()


def test_the_verb_takes_l1(
    model_file: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app(
        ["evaluate", "--model", str(model_file), "--dataset", str(digits), "--norm", "l1",
         "--epsilon", "0.6", "--attack", "pgd40", "--num-images", "16", "--output",
         str(tmp_path / "out")],
        standalone_mode=False,
    )  # fmt: skip
    assert "l1 0.6, 16 images" in capsys.readouterr().out


def test_what_l1_is_not_for_is_refused(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="norm"):
        parse_settings(TrainSettings, {"norm": "l1", "epsilon": "12"})
    in_l1 = replace(subject, threat_settings=ThreatSettings(norm="l1", epsilon="1"))
    with pytest.raises(UserError, match="norm is 'l1', but landscapes are drawn for linf and l2"):
        write_landscape(in_l1, tmp_path, LandscapeSettings())

"""What the stages say of themselves, and what runs where there are few classes."""

import pytest
import torch

from pyrobust.attacks import ThreatModel
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.evaluation.aa_mt import aa_mt
from pyrobust.evaluation.autoattack import autoattack
from tests.attacks.linear import linear_task

THREAT = ThreatModel("linf", 8 / 255)


def test_aa_mt_is_that_of_the_paper() -> None:
    cascade = aa_mt(EvaluationSettings(), THREAT, 10)
    assert [(stage.name, stage.attack) for stage in cascade.stages] == [
        ("apgd_ce", "APGD on cross entropy, 5 × 100 steps"),
        ("apgd_dlr", "APGD on DLR, 5 × 100 steps"),
        ("multitargeted", "multi-targeted on margin, 10 × 200 steps for each of 9 targets"),
    ]
    assert cascade.notes == []


def test_shared_restarts_and_fewer_targets_are_said() -> None:
    settings = EvaluationSettings(multitargeted_share_restarts=True, multitargeted_targets=20)
    stage = aa_mt(settings, THREAT, 100).stages[2]
    assert stage.attack == "multi-targeted on margin, 10 × 200 steps shared by 20 targets"


def test_autoattack_is_the_standard_version() -> None:
    cascade = autoattack(THREAT, 10, seed=0)
    assert [(stage.name, stage.attack) for stage in cascade.stages] == [
        ("apgd_ce", "APGD on cross entropy, 1 × 100 steps"),
        ("apgd_t", "APGD on targeted DLR, 1 × 100 steps for each of 9 targets"),
        ("fab_t", "FAB, 1 × 100 steps for each of 9 targets"),
        ("square", "Square, 5,000 queries"),
    ]


def test_seeds_of_stages_differ() -> None:
    seeds = [
        stage.seed
        for seed in (0, 1, 2**63 - 1)
        for cascade in (
            aa_mt(EvaluationSettings(seed=seed), THREAT, 10),
            autoattack(THREAT, 10, seed),
        )
        for stage in cascade.stages
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)  # what operators take


def notes(num_classes: int) -> list[str]:
    ours = aa_mt(EvaluationSettings(), THREAT, num_classes)
    return ours.notes + autoattack(THREAT, num_classes, 0).notes


def test_replaced_losses_are_noted() -> None:
    assert notes(4) == []
    assert notes(3) == ["apgd_t ran on the targeted margin: 3 classes are too few for DLR"]
    assert notes(2) == [
        "apgd_dlr ran on the margin: 2 classes are too few for DLR",
        "apgd_t ran on the targeted margin: 2 classes are too few for DLR",
    ]


@pytest.mark.parametrize("num_classes", [2, 3, 4])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_stage_runs_with_few_classes(num_classes: int, norm: str) -> None:
    threat = ThreatModel(norm, 0.02 if norm == "linf" else 0.12)
    network, x, labels = linear_task(num_classes, 30, 0.12, seed=num_classes)
    settings = EvaluationSettings(
        apgd_ce_steps=5, apgd_dlr_steps=5, multitargeted_steps=8, multitargeted_restarts=1
    )
    for stage in aa_mt(settings, threat, num_classes).stages:
        x_adv = stage.run(network, x, labels, torch.arange(30))
        assert threat.contains(x_adv, x).all(), stage.name


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.02), ("l2", 0.12), ("l1", 0.5)])
@pytest.mark.parametrize("number", [2, 3])
def test_fab_and_square_treat_each_image_by_itself(
    norm: str, epsilon: float, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrobust.evaluation.autoattack.NUM_QUERIES", 60)
    monkeypatch.setattr("pyrobust.evaluation.autoattack._NUM_STEPS", 10)
    threat = ThreatModel(norm, epsilon)
    cascade = autoattack(threat, 4, seed=3)
    # A network of products whose bits do not depend on the batch: one image at a time.
    network, x, labels = linear_task(4, 24, 0.12, seed=4)

    def one_by_one(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([network(image[None]) for image in images])

    run = cascade.stages[number].run
    together = run(one_by_one, x, labels, torch.arange(24))
    rows = torch.tensor([5, 0, 17])
    torch.testing.assert_close(
        run(one_by_one, x[rows], labels[rows], rows), together[rows], rtol=0, atol=0
    )
    assert threat.contains(together, x).all()
    broken = network(together).argmax(1) != labels
    assert 0 < broken.sum() < 24

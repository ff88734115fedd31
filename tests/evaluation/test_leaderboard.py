"""Entries for RobustBench: what its own entries hold, and only from what it asks for."""

from typing import Any

import pytest

from pyrobust.errors import UserError
from pyrobust.evaluation.leaderboard import Publication, entry_of

PAPER = Publication(
    title="Improving Robustness using Generated Data",
    authors="Sven Gowal, Sylvestre-Alvise Rebuffi",
    link="https://arxiv.org/abs/2110.09468",
    venue="NeurIPS 2021",
    architecture="WideResNet-70-16",
    footnote="It uses additional 100M synthetic images in training.",
)
EVALUATION: dict[str, Any] = {
    "dataset": "cifar10",
    "split": "test",
    "norm": "linf",
    "epsilon": "8/255",
    "num_images": 10_000,
    "clean_accuracy": 0.8874,
    "robust_accuracy": 0.6610,
    "autoattack": {"robust_accuracy": 0.6611, "stages": []},
    "worst": 0.6610,
    "checks": [{"name": "deterministic", "passed": True, "seen": ""}],
}


def test_the_entry_is_that_of_the_papers_model() -> None:
    assert entry_of(EVALUATION, PAPER) == {
        "link": "https://arxiv.org/abs/2110.09468",
        "name": "Improving Robustness using Generated Data",
        "authors": "Sven Gowal, Sylvestre-Alvise Rebuffi",
        "additional_data": False,
        "number_forward_passes": 1,
        "dataset": "cifar10",
        "venue": "NeurIPS 2021",
        "architecture": "WideResNet-70-16",
        "eps": "8/255",
        "clean_acc": "88.74",
        "reported": "66.10",
        "autoattack_acc": "66.11",
        "external": "66.10",
        "footnote": "It uses additional 100M synthetic images in training.",
        "unreliable": False,
    }


def test_autoattack_alone_is_what_the_board_asks_for() -> None:
    alone = {**EVALUATION, "autoattack": None, "settings": {"attack": "autoattack"}}
    entry = entry_of(alone, PAPER)
    assert (entry["autoattack_acc"], entry["reported"]) == ("66.10", "66.10")
    assert "external" not in entry


def test_what_autoattack_leaves_is_shown_alone_if_it_is_the_least() -> None:
    stronger = {**EVALUATION, "worst": 0.66, "autoattack": {"robust_accuracy": 0.66}}
    entry = entry_of(stronger, PAPER)
    assert (entry["autoattack_acc"], entry["reported"]) == ("66.00", "66.00")
    assert "external" not in entry


def test_a_failed_check_makes_an_entry_unreliable() -> None:
    failed = {"name": "deterministic", "passed": False, "seen": "logits differ"}
    assert entry_of({**EVALUATION, "checks": [failed]}, PAPER)["unreliable"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dataset": "svhn"},
            "RobustBench has no leaderboard for svhn in linf; choose one of: cifar10 in",
        ),
        (
            {"epsilon": "4/255"},
            "epsilon is 4/255, but RobustBench's leaderboard for cifar10 in linf uses 8/255",
        ),
        (
            {"norm": "l2", "epsilon": "128/255"},
            r"epsilon is 128/255, but RobustBench's leaderboard for cifar10 in l2 uses 0\.5",
        ),
        (
            {"num_images": 1_000},
            "1,000 images of the test split were attacked, but RobustBench requires 10,000",
        ),
        ({"split": "train"}, "10,000 images of the train split"),
        ({"autoattack": None}, "run 'pyrobust evaluate --autoattack'"),
    ],
)
def test_less_than_the_board_asks_for_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        entry_of({**EVALUATION, **changes}, PAPER)

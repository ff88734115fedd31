"""The entry that RobustBench asks its contributors for (`model_info/<dataset>/<norm>/*.json`)."""

from dataclasses import dataclass
from typing import Any

from pyrobust.config import parse_epsilon
from pyrobust.errors import UserError


@dataclass(frozen=True)
class Board:
    """What one leaderboard asks of an evaluation."""

    epsilon: str
    num_images: int


BOARDS = {
    ("cifar10", "linf"): Board("8/255", 10_000),
    ("cifar10", "l2"): Board("0.5", 10_000),
    ("cifar100", "linf"): Board("8/255", 10_000),
    ("imagenet", "linf"): Board("4/255", 5_000),
}


@dataclass(frozen=True)
class Publication:
    """Facts about a model that an evaluation does not contain.

    Args:
        additional_data: whether real images from elsewhere were used; generated ones belong in
            the footnote.
        reported: robust accuracy as the paper states it; that of the evaluation where None.
    """

    title: str
    authors: str
    link: str
    venue: str
    architecture: str
    additional_data: bool = False
    reported: float | None = None
    footnote: str = ""


def entry_of(evaluation: dict[str, Any], publication: Publication) -> dict[str, Any]:
    """Return the entry, its keys in the order of the published ones.

    `autoattack_acc` is AutoAttack's; where AA+MT leaves less, `external` says so, as the entries
    of the paper's own models do. A failed check makes the entry `unreliable`.

    Raises:
        UserError: the leaderboard is unknown, or the evaluation does not meet its requirements.
    """
    board = _board_of(evaluation)
    autoattack = _autoattack_of(evaluation)
    worst = evaluation["worst"]
    reported = worst if publication.reported is None else publication.reported
    return {
        "link": publication.link,
        "name": publication.title,
        "authors": publication.authors,
        "additional_data": publication.additional_data,
        "number_forward_passes": 1,
        "dataset": evaluation["dataset"],
        "venue": publication.venue,
        "architecture": publication.architecture,
        "eps": board.epsilon,
        "clean_acc": _percent(evaluation["clean_accuracy"]),
        "reported": _percent(reported),
        "autoattack_acc": _percent(autoattack),
        **({"external": _percent(worst)} if worst < autoattack else {}),
        "footnote": publication.footnote,
        "unreliable": any(check["passed"] is False for check in evaluation["checks"]),
    }


def _board_of(evaluation: dict[str, Any]) -> Board:
    name, norm = evaluation["dataset"], evaluation["norm"]
    board = BOARDS.get((name, norm))
    if board is None:
        known = ", ".join(f"{dataset} in {norm}" for dataset, norm in BOARDS)
        raise UserError(
            f"RobustBench has no leaderboard for {name} in {norm}; choose one of: {known}"
        )
    if parse_epsilon(evaluation["epsilon"]) != parse_epsilon(board.epsilon):
        raise UserError(
            f"epsilon is {evaluation['epsilon']}, but RobustBench's leaderboard for {name} in "
            f"{norm} uses {board.epsilon}; run 'pyrobust evaluate --epsilon {board.epsilon}'"
        )
    if evaluation["split"] != "test" or evaluation["num_images"] != board.num_images:
        raise UserError(
            f"{evaluation['num_images']:,} images of the {evaluation['split']} split were "
            f"attacked, but RobustBench requires {board.num_images:,} test images; run "
            "'pyrobust evaluate' on them"
        )
    return board


def _autoattack_of(evaluation: dict[str, Any]) -> float:
    """Return the robust accuracy under AutoAttack, which ran after AA+MT or alone."""
    result = evaluation["autoattack"]
    if evaluation.get("settings", {}).get("attack") == "autoattack":
        result = evaluation
    if result is None:
        raise UserError(
            "the evaluation has no AutoAttack result, which RobustBench requires; run "
            "'pyrobust evaluate --autoattack' or '--attack autoattack'"
        )
    return float(result["robust_accuracy"])


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.2f}"

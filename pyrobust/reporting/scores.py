"""Accuracies of one evaluation with their 95 % intervals."""

from typing import Any

from pyrobust.evaluation.intervals import wilson_interval


def interval_of(accuracy: float, num_images: int) -> list[float]:
    """Return the 95 % Wilson interval of an accuracy over `num_images` images."""
    return list(wilson_interval(round(accuracy * num_images), num_images))


def scores_of(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return clean and robust accuracy, and every attack stage, of one `evaluation.json`.

    `robust_accuracy` is the lower of AA+MT and AutoAttack, as in Table 2 of the paper.
    """
    num_images = evaluation["num_images"]
    autoattack = evaluation["autoattack"]
    return {
        "num_images": num_images,
        "clean_accuracy": evaluation["clean_accuracy"],
        "clean_interval": interval_of(evaluation["clean_accuracy"], num_images),
        "robust_accuracy": evaluation["worst"],
        "robust_interval": interval_of(evaluation["worst"], num_images),
        "aa_mt": {
            "robust_accuracy": evaluation["robust_accuracy"],
            "stages": _with_intervals(evaluation["stages"], num_images),
        },
        "autoattack": autoattack
        and {
            "robust_accuracy": autoattack["robust_accuracy"],
            "stages": _with_intervals(autoattack["stages"], num_images),
        },
        "curve": _with_intervals(evaluation["curve"], num_images),
    }


def _with_intervals(results: list[dict[str, Any]], num_images: int) -> list[dict[str, Any]]:
    return [
        {**result, "interval": interval_of(result["robust_accuracy"], num_images)}
        for result in results
    ]

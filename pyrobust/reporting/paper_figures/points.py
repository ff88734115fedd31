"""Points of a target: an experiment of a sweep, with the files of the stages it depends on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pyrobust.config.base import parse_settings
from pyrobust.config.experiment import ExperimentSettings, check_training
from pyrobust.config.sweeps import value_of
from pyrobust.errors import UserError
from pyrobust.files import read_json
from pyrobust.reporting.accuracies import interval_of, scores_of
from pyrobust.reporting.departures import attack_departures, training_departures
from pyrobust.reporting.effects import arm_of
from pyrobust.reporting.stage_results import Arm, read_arm

Row = dict[str, Any]

SETTINGS = (
    "dataset",
    "norm",
    "epsilon",
    "architecture",
    "generator",
    "selection",
    "num_samples",
    "mixing_factor",
    "labeller",
)


@dataclass(frozen=True)
class Point:
    """One line of a sweep."""

    experiment: str
    kind: str
    """Kind of generative model."""
    settings: dict[str, Any]
    columns: dict[str, Any]
    """What the table says of the point and not of the experiment."""
    files: dict[str, str | list[str]]

    def value(self, key: str) -> Any:
        """Return a column of the sweep, a setting of the experiment or its training, or the
        kind."""
        kind = None if self.columns["augmentation"] else self.kind
        return value_of(self.settings, {**self.columns, "kind": kind}, key)

    @property
    def name(self) -> str:
        """How the point is called."""
        return str(self.columns["name"] or self.experiment)


def parse_points(entries: Iterable[Mapping[str, Any]]) -> list[Point]:
    """Return the points of a target, as the workflow describes them.

    Raises:
        UserError: an entry lacks a key.
    """
    points = []
    for number, entry in enumerate(entries):
        columns = dict(entry)
        try:
            own = {key: columns.pop(key) for key in ("experiment", "kind", "settings", "files")}
        except KeyError as error:
            raise UserError(
                f"point {number} of the target has no {error}: rule describe_target writes "
                "results/paper/<target>.inputs.json"
            ) from error
        points.append(Point(**own, columns=columns))
    return points


def describe(point: Point) -> Row:
    """Return what the point is; settings of generated data only where some are used."""
    row: Row = {"name": point.name, "experiment": point.experiment}
    row |= {key: point.settings[key] for key in SETTINGS}
    if point.columns["augmentation"]:
        row |= {"generator": point.columns["augmentation"], "mixing_factor": None}
    elif point.settings["mixing_factor"] == 1:
        row |= {"generator": None, "selection": None, "num_samples": 0}
    for key in ("mixture_share", "mixture_classes", "tested_on"):
        row[key] = point.columns[key]
    return row


def accuracies(point: Point) -> Row:
    """Return clean and robust accuracy of the chosen run, and the labeller's on clean images.

    Raises:
        UserError: a file is missing, or was made for another perturbation set.
    """
    files = point.files
    tested = tested_runs(point)
    for evaluation in tested.evaluations.values():
        _check_threat(point, evaluation.summary, evaluation.folder)
    scores = scores_of(tested.chosen.summary)
    labeller = read_json(Path(str(files["labeller"])), "pyrobust train-labeller")
    num_images = scores["num_images"]
    row: Row = {"labeller_accuracy": labeller["test_accuracy"], "num_images": num_images}
    for key in ("clean", "robust"):
        row[f"{key}_accuracy"] = scores[f"{key}_accuracy"]
        row[f"{key}_low"], row[f"{key}_high"] = interval_of(scores[f"{key}_accuracy"], num_images)
    row |= statistics_of(tested) | validation_of(Path(str(files["choice"])))
    if point.columns["tested_on"]:
        available = int(point.columns["test_samples"])
    else:
        dataset = read_json(Path(str(files["dataset"])), "pyrobust dataset")
        available = dataset["counts"]["test"]
    attack = attack_departures(tested.chosen.summary["settings"], num_images, available)
    departures = {"departures": "; ".join(attack), "training_departures": _training_text(point)}
    return row | departures | {"stages": _stages(scores)}


def _training_text(point: Point) -> str:
    """Return in which training settings a point differs from what the paper states."""
    settings = parse_settings(ExperimentSettings, point.settings)
    training = check_training(settings).model_dump(mode="json")
    samples = settings.num_samples if settings.mixing_factor < 1 else 0
    found = training_departures(training, samples)
    return "; ".join(f"{key} {training[key]} (paper: {value})" for key, value in found.items())


def tested_runs(point: Point) -> Arm:
    """Return the runs of a point that were evaluated: one for each seed, or the chosen one.

    Raises:
        UserError: a file is missing.
    """
    listed = point.files["evaluation"]
    indexes = [listed] if isinstance(listed, str) else listed
    return read_arm(Path(str(point.files["choice"])), [Path(index) for index in indexes])


def statistics_of(arm: Arm) -> Row:
    """Return mean, standard deviation, t interval and values of the runs that were evaluated.

    With one run, mean and values are its own; the interval takes three runs.
    """
    runs = [arm.evaluations[seed].summary for seed in sorted(arm.evaluations)]
    row: Row = {"num_runs": len(runs)}
    for name, key in (("clean", "clean_accuracy"), ("robust", "worst")):
        values = [float(summary[key]) for summary in runs]
        found = arm_of(values)
        low, high = found["interval"] or (None, None)
        row |= {
            f"{name}_mean": found["mean"],
            f"{name}_sd": found["std"],
            f"{name}_mean_low": low,
            f"{name}_mean_high": high,
            f"{name}_runs": values,
        }
    return row


def validation_of(choice: Path) -> Row:
    """Return robust accuracy on the validation split: of the chosen run, and its mean over runs.

    Args:
        choice: the file `choice.json`.
    """
    found = read_json(choice, "pyrobust choose")
    by_seed = {run["seed"]: run["validation"]["robust_accuracy"] for run in found["runs"]}
    return {
        "validation_accuracy": by_seed[found["chosen_seed"]],
        "validation_mean": fmean(by_seed.values()),
    }


def _stages(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return what each stage of each cascade leaves, by name."""
    stages = {
        f"{cascade}_{stage['name']}".replace("-", "_"): stage["robust_accuracy"]
        for cascade in ("aa_mt", "autoattack")
        if scores[cascade]
        for stage in scores[cascade]["stages"]
    }
    return {"clean": scores["clean_accuracy"], **stages}


def _check_threat(point: Point, summary: Mapping[str, Any], folder: Path) -> None:
    for key in ("norm", "epsilon"):
        if summary[key] != point.settings[key]:
            raise UserError(
                f"{folder} was evaluated with {key} {summary[key]}, but the experiment "
                f"'{point.experiment}' has {point.settings[key]}: delete the folder and run "
                "snakemake again"
            )


def neighbours(point: Point) -> Row:
    """Return complementarity, coverage, Inception score and FID of the samples."""
    found = read_json(Path(str(point.files["neighbours"])), "pyrobust neighbours")
    quality = read_json(Path(str(point.files["quality"])), "pyrobust quality")
    row: Row = {f"complementarity_{key}": value for key, value in found["complementarity"].items()}
    row |= {f"coverage_{key}": value for key, value in found["coverage"].items()}
    row |= {f"reference_{key}": value for key, value in found["reference"].items()}
    score = quality["inception_score"]
    return row | {
        "neighbour_images": found["num_samples"],
        "neighbour_features": found["extractor"],
        "inception_score": score["mean"],
        "inception_score_std": score["std"],
        "fid": quality["fid"],
        "quality_images": quality["num_images"],
        "quality_features": quality["extractor"],
    }

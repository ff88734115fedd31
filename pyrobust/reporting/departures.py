"""Where an experiment differs from the paper and from the authors' code."""

from typing import Any

from pyrobust.config import parse_settings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.reporting.protocols import (
    AUTHORS_MIXING_FACTOR,
    GENERATORS,
    LABELLER_ACCURACY,
    MIXING_FACTOR,
    NUM_RUNS,
    ONE_MILLION,
    SELECTION,
    TRAINING,
    VALIDATION_IMAGES,
    paper_epochs,
)
from pyrobust.reporting.published_results import DDPM_OF_TINYIMAGENET
from pyrobust.reporting.stage_results import Experiment
from pyrobust.reporting.wording import generator_kind, generator_name, stage_name

# The stages of AA+MT.
_STAGES = ("apgd_ce", "apgd_dlr", "multitargeted")


def attack_departures(settings: dict[str, Any], num_images: int, num_test: int) -> list[str]:
    """Return how an evaluation is weaker or stronger than AA+MT of the paper.

    Args:
        settings: those of `pyrobust evaluate`.
        num_images: test images attacked, out of `num_test`.
    """
    ours = parse_settings(EvaluationSettings, settings)
    paper = EvaluationSettings()
    departures = []
    for key in _STAGES:
        mine, theirs = (
            (getattr(s, f"{key}_restarts"), getattr(s, f"{key}_steps")) for s in (ours, paper)
        )
        if mine != theirs:
            departures.append(
                f"{stage_name(key)} runs {mine[0]}×{mine[1]} (restarts×steps) "
                f"instead of {theirs[0]}×{theirs[1]}"
            )
    if ours.multitargeted_share_restarts:
        departures.append("MultiTargeted distributes its restarts over the targets")
    if ours.multitargeted_targets is not None:
        departures.append(
            f"MultiTargeted tries {ours.multitargeted_targets} targets instead of all other classes"
        )
    if ours.search != paper.search:
        departures.append(f"attacks compute in {ours.search}")
    if num_images < num_test:
        departures.append(f"{num_images:,} of {num_test:,} test images are attacked")
    return departures


def training_departures(settings: dict[str, Any], num_samples: int = 0) -> dict[str, Any]:
    """Return the training settings that differ from what the paper states, with its value.

    Settings on which the paper is silent are not among them, whatever the authors' code does.

    Args:
        settings: those of `pyrobust train`.
        num_samples: generated images; with 100 million the paper trains longer.
    """
    return {
        key: paper
        for key, value in settings.items()
        if key in TRAINING
        and (paper := _paper_value(key, num_samples)) is not None
        and value != paper
    }


def departures(
    experiment: Experiment,
    training: dict[str, Any],
    labeller_accuracy: float,
    counts: dict[str, int],
) -> list[dict[str, Any]]:
    """Return where the experiment differs from the paper or the authors' code, side by side.

    Args:
        training: settings of its runs.
        labeller_accuracy: of the labeller on the test images.
        counts: images of the splits.

    Returns:
        One entry for each choice that differs: `topic`, `paper` and `authors` (None where the
        source does not say), `ours`, and `source`.
    """
    settings = experiment.settings
    samples = settings.num_samples if experiment.uses_generated else 0
    rows = [
        _row(
            key,
            _paper_value(key, samples),
            _paper_value(key, samples) if key == "epochs" else choice.authors,
            "the whole batch" if (key, training[key]) == ("virtual_batch", 0) else training[key],
            choice.source,
        )
        for key, choice in TRAINING.items()
        if key in training
    ]
    rows += [
        _row("training runs (seeds)", NUM_RUNS, 1, len(settings.seeds), "appendix A"),
        _row(
            "validation images, withheld from training",
            VALIDATION_IMAGES,
            0,
            counts["validation"],
            "appendix A; the authors' code validates on the test images",
        ),
    ]
    if experiment.uses_generated:
        rows += _of_generated(experiment, labeller_accuracy, counts)
    return [row for row in rows if _differs(row)]


def _of_generated(
    experiment: Experiment, labeller_accuracy: float, counts: dict[str, int]
) -> list[dict[str, Any]]:
    """Return the choices that only training with generated images has."""
    settings, selection = experiment.settings, experiment.sections["selection"]
    generator = experiment.sections["generator"]
    kind = generator_kind(experiment.as_json()["generator"])
    trained_here = generator["type"] != "imported" and not generator.get("path")
    # Class-conditional samples of a model of ImageNet, which need no labeller (footnotes 9, 12).
    conditional = settings.dataset == "tinyimagenet"
    # The passages on the labels of Gaussian samples disagree (section 3.2, appendix D).
    labels = None if kind == "gaussian" else "the labeller's"
    by_code = (settings.dataset, settings.norm, kind) == ("cifar10", "linf", "ddpm")
    protocol = SELECTION.get(kind)
    stated_protocol = protocol and _selection(*protocol)
    rows = [
        _row("generator", DDPM_OF_TINYIMAGENET, None, generator_name(kind), "section 6.2")
        if conditional
        else _row("generator", "one of five", "DDPM", generator_name(kind), "section 5")
        if kind not in GENERATORS
        else None,
        _row(
            "mixing factor",
            MIXING_FACTOR.get(kind),
            AUTHORS_MIXING_FACTOR if by_code else None,
            settings.mixing_factor,
            "section 3.2 for Gaussian samples; else the authors' code, for the DDPM",
        ),
        _row(
            "generated images",
            settings.num_samples if settings.num_samples in _AMOUNTS else ONE_MILLION,
            ONE_MILLION,
            settings.num_samples,
            "appendix D; 100M in one row of Table 2",
        ),
        _row(
            "selection of generated images",
            stated_protocol,
            stated_protocol,
            _selection(selection["protocol"], selection["oversampling"]),
            "appendix D",
        ),
        _row(
            "labels of generated images",
            "the drawn class" if conditional else labels,
            None if conditional else labels,
            "the labeller's" if selection["label_source"] == "labeller" else "the drawn class",
            "footnotes 9 and 12" if conditional else "appendix D",
        ),
        _row(
            "images that the generator was trained on",
            "those of ImageNet" if conditional else "all for training, with those of validation",
            None,
            f"{counts['train']:,}, without those of validation"
            if trained_here
            else "those of its publisher, presumably with the validation images",
            "section 6.2" if conditional else "appendix D",
        ),
    ]
    stated = LABELLER_ACCURACY.get(settings.dataset)
    if stated is not None and abs(labeller_accuracy - stated) >= _SAME_ACCURACY:
        ours_text = f"{labeller_accuracy:.2%}"
        rows.append(_row("labeller accuracy", f"{stated:.2%}", None, ours_text, "appendix D"))
    return [row for row in rows if row is not None]


_AMOUNTS = (ONE_MILLION, 100 * ONE_MILLION)
# Labellers whose accuracies differ by less are alike: a tenth of a point is noise of training.
_SAME_ACCURACY = 0.001


def _selection(protocol: str, oversampling: float) -> str:
    if protocol == "until_full":
        return "all, until each class is full"
    if protocol == "first":
        return "all, whatever their class"
    return f"the most confident 1 of {oversampling:g} of each class"


def _paper_value(key: str, num_samples: int) -> Any:
    return paper_epochs(num_samples) if key == "epochs" else TRAINING[key].paper


def _row(topic: str, paper: Any, authors: Any, ours: Any, source: str) -> dict[str, Any]:
    return {"topic": topic, "paper": paper, "authors": authors, "ours": ours, "source": source}


def _differs(row: dict[str, Any]) -> bool:
    return any(row[key] is not None and row[key] != row["ours"] for key in ("paper", "authors"))

"""The paper's numbers for the points of a table or figure (Gowal et al. 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyrobust.reporting.accuracies import Cascade
from pyrobust.reporting.paper_figures.points import Point, Row
from pyrobust.reporting.protocols import ONE_MILLION, TRAINING
from pyrobust.reporting.published_results import (
    DDPM_OF_TINYIMAGENET,
    RAW_QUALITY,
    SELECTED_QUALITY,
    PaperQuality,
    PaperResult,
    fraction,
    result_of,
    unlike_protocol,
    unlike_training,
)


@dataclass(frozen=True)
class Statement:
    """One number that the paper states about a point or a line of a table or figure."""

    target: str
    measure: str
    value: float
    """A fraction, except for FID and Inception scores."""
    source: str
    holds_for: dict[str, str] = field(default_factory=dict)
    """Settings or columns of the points to which it applies; "" means that a value is not set,
    and an empty dictionary applies to every point."""
    x: float | None = None
    """Where on the x axis; None: the paper does not say where, or no figure."""

    attack: Cascade = "aa_mt"
    """What a robust accuracy is under."""

    num_runs: int = 1
    """Runs whose mean it is; 1: the better of two by validation."""


_TEN_RUNS = "section 6, mean of ten runs"
_TABLE_2 = "Table 2, the lower of AA+MT and AutoAttack"


def _about(
    target: str, measure: str, percents: dict[str, float], source: str, x: float | None = None
) -> list[Statement]:
    """Return one statement for each entry "key=value key=value: percent"; "" is every point."""
    return [
        Statement(
            target,
            measure,
            fraction(percent),
            source,
            dict(condition.split("=") for condition in conditions.split()),
            x,
            attack="worst" if source.startswith(_TABLE_2) else "aa_mt",
            num_runs=10 if (source, measure) == (_TEN_RUNS, "robust_accuracy") else 1,
        )
        for conditions, percent in percents.items()
    ]


def _neighbours(
    target: str, conditions: str, source: str, measures: dict[str, float]
) -> list[Statement]:
    """Return what one row of a table of neighbours states; shares are given in percent."""
    holds_for = dict(condition.split("=") for condition in conditions.split())
    return [
        Statement(
            target,
            measure,
            number if measure.startswith(("fid", "inception_score")) else fraction(number),
            source,
            holds_for,
        )
        for measure, number in measures.items()
    ]


def _inception(quality: PaperQuality) -> dict[str, float]:
    metrics = {"inception_score": quality.inception_score, "fid": quality.fid}
    if quality.inception_score_std is not None:
        metrics["inception_score_std"] = quality.inception_score_std
    return metrics


# Complementarity and coverage (%), in the order of `_OF_TABLE_4`.
TABLE_4: dict[str, tuple[float, ...]] = {
    "mixup": (96.33, 0.17, 3.50, 98.34, 41.93),
    "gaussian": (0.80, 0.72, 98.48, 15.80, 16.39),
    "vdvae": (6.52, 5.71, 87.77, 23.20, 23.69),
    "biggan": (11.69, 9.55, 78.76, 39.29, 38.89),
    "ddpm": (31.20, 26.39, 42.41, 44.08, 43.80),
}
_OF_TABLE_4 = (
    "complementarity_train",
    "complementarity_test",
    "complementarity_self",
    "coverage_train",
    "coverage_test",
)


def _row_of(kind: str) -> str:
    return f"augmentation={kind}" if kind == "mixup" else f"kind={kind}"


_REAL_IMAGES = {"reference_train_covers_test": 52.27, "reference_test_covers_train": 52.08}

# What the text states of its tables and figures. Tables 2 and 3 are in RESULTS; the body of
# Tables 1 and 5 and the curves are printed as images, which this project does not measure out.
STATEMENTS: tuple[Statement, ...] = (
    *_about("baseline_ten", "robust_mean", {"": 54.44}, _TEN_RUNS),
    *_about("baseline_ten", "robust_sd", {"": 0.39}, _TEN_RUNS),
    *(
        statement
        for (_, kind), quality in SELECTED_QUALITY.items()
        for statement in _neighbours("table1", _row_of(kind), quality.source, _inception(quality))
    ),
    *(
        statement
        for kind, shares in TABLE_4.items()
        for statement in _neighbours(
            "table4",
            _row_of(kind),
            "Table 4",
            dict(zip(_OF_TABLE_4, shares, strict=True))
            | _inception(SELECTED_QUALITY["cifar10", kind]),
        )
    ),
    *(
        statement
        for (dataset, kind), quality in RAW_QUALITY.items()
        for statement in _neighbours(
            "raw_samples", f"kind={kind} dataset={dataset}", quality.source, _inception(quality)
        )
    ),
    *(
        statement
        for target in ("table1", "table5")
        for statement in _neighbours(target, "", "footnote 16", _REAL_IMAGES)
    ),
    *_neighbours(
        "table5",
        "augmentation=mixup",
        "Table 4",
        _inception(SELECTED_QUALITY["cifar10", "mixup"]),
    ),
    *_about("figure3a", "robust_accuracy", {"kind=gaussian": 55.37}, "section 3.2", 0.8),
    *_about("figure3a", "robust_accuracy", {"": 54.44}, _TEN_RUNS, 1.0),
    *_about(
        "figure4a",
        "robust_accuracy",
        {"architecture=wrn-28-10": 58.15, "architecture=wrn-70-16": 59.83},
        "section 6.1",
        0.7447,
    ),
    *_about("figure5", "robust_accuracy", {"name=Gaussian": 55.37}, "section 3.2", 0.8),
    *_about(
        "figure5",
        "robust_accuracy",
        {"name=StyleGAN2": 58.17, "name=DDPM": 60.73},
        "section 6.2, at best",
    ),
    *_about("figure5", "robust_accuracy", {"": 54.44}, _TEN_RUNS, 1.0),
    *_about(
        "figure10", "clean_accuracy", {"name=DDPM": 85.97}, "Table 2, where robust accuracy is best"
    ),
    *_about(
        "figure6",
        "robust_accuracy",
        {
            "mixing_factor=0 kind=ddpm tested_on=": 58.43,
            "mixing_factor=0 kind=biggan tested_on=": 43.34,
            "mixing_factor=0 kind=ddpm tested_on=ddpm": 64.17,
            "mixing_factor=0 kind=biggan tested_on=biggan": 94.95,
        },
        "appendix B",
        ONE_MILLION,
    ),
    *_about("figure7", "robust_accuracy", {"kind=ddpm": 31.23}, "Table 3, AA+MT, at best"),
    *_about("figure7", "robust_accuracy", {"": 28.75}, "appendix B: 2.48 below 31.23%", 1.0),
    *_about("figure8", "robust_accuracy", {"kind=ddpm": 60.90}, f"{_TABLE_2}, at best"),
    *_about("figure8", "robust_accuracy", {"": 56.83}, _TABLE_2, 1.0),
    *_about(
        "figure9",
        "robust_accuracy",
        {"selection=as_conditioned": 26.66},
        f"{_TABLE_2}, at best, {DDPM_OF_TINYIMAGENET}",
    ),
    *_about("figure9", "robust_accuracy", {"": 21.56}, _TABLE_2, 1.0),
)

# What the text states of a figure as a difference.
REMARKS: dict[str, str] = {
    "figure3a": "shares of 50 to 90% help, 80% most: +0.93 points (section 3.2)",
    "figure4c": "with all classes ResNet-18 and WRN-70-16 are 17.37 points apart (section 6.1)",
    "figure5": "at best +6.29 points with DDPM, +3.73 with StyleGAN2 (section 6.2)",
    "figure6": "from unseen samples to test images 5.74 points with DDPM, 51.61 with BigGAN "
    "(appendix B)",
    "figure7": "at best +2.48 points (appendix B)",
    "figure8": "at best +4.07 points (appendix B)",
    "figure9": f"at best +5.10 points (appendix B), with {DDPM_OF_TINYIMAGENET}",
    "figure10": "at best +2.05 points with DDPM, +3.45 with StyleGAN2, +1.27 with BigGAN, none "
    "with VDVAE (appendix B)",
}


# Tables whose rows are whole models of the paper.
_TABLES_OF_MODELS = ("table1", "table2", "table3")


@dataclass(frozen=True)
class Published:
    """What the paper says of one point."""

    values: dict[str, float]
    source: str
    differs: str
    """In what the paper's model differs from ours; empty where in nothing known."""


def published(
    target: str | None, point: Point, x: float | None = None, cascade: Cascade = "worst"
) -> Published | None:
    """Return the paper's numbers for one point, if its text gives any.

    Args:
        cascade: under which attack our robust accuracy is, so that the paper's is under the same.
        target: table or figure of the paper; None where a target is not one of the paper's.
        x: of the point, for curves; a number that the paper gives for another x, or without
            saying for which, is not taken.
    """
    values: dict[str, float] = {}
    sources: list[str] = []
    result = _model(target, point)
    differs: list[str] = []
    epochs = float(point.value("training.epochs"))
    recipe = point.settings.get("recipe", "gowal21")
    if result is not None:
        beside = result.beside(cascade, point.settings["mixing_factor"], epochs, recipe)
        values["robust_accuracy"], differs = beside["robust_accuracy"], beside["differs"]
        if result.clean_accuracy is not None:
            values["clean_accuracy"] = result.clean_accuracy
        sources.append(result.source)
    for statement in statements_about(target, [point]):
        if statement.x == x:
            values[statement.measure] = statement.value
            sources.append(statement.source)
            if statement.measure.startswith("robust_"):
                differs += unlike_training(TRAINING["epochs"].paper, epochs, recipe)
                differs += unlike_protocol(statement.attack, statement.num_runs, cascade)
    if not values:
        return None
    return Published(values, "; ".join(dict.fromkeys(sources)), "; ".join(dict.fromkeys(differs)))


# Images behind complementarity and coverage, and behind FID and Inception score (appendix D).
_PAPERS_IMAGES = {"neighbour": 10_000, "quality": 50_000}


def unlike_measures(target: str | None, row: Row) -> list[str]:
    """Return in what the measures of a row's generated images differ from the paper's.

    Args:
        row: with features and number of images of neighbours and of quality, if it has any.
    """
    features = {"neighbour": "lpips" if target == "table4" else "inception", "quality": "inception"}
    words = {"neighbour": "neighbours", "quality": "FID and IS"}
    found = []
    for measure, count in _PAPERS_IMAGES.items():
        if f"{measure}_features" not in row:
            continue
        ours, images = row[f"{measure}_features"], row[f"{measure}_images"]
        if ours != features[measure]:
            found.append(f"{words[measure]} by {ours} features (paper: {features[measure]})")
        if images != count:
            found.append(f"{words[measure]} of {images:,} images (paper: {count:,})")
    return found


def stages_of(target: str | None, point: Point) -> dict[str, float]:
    """Return what each stage of AutoAttack leaves of the paper's model, and AA+MT, by name."""
    result = _model(target, point)
    if result is None:
        return {}
    stages = {
        f"autoattack_{name}".replace("-", "_"): value
        for name, value in result.autoattack_stages.items()
    }
    if result.clean_accuracy is not None:
        stages["clean"] = result.clean_accuracy
    if result.aa_mt is not None:
        stages["aa_mt_multitargeted"] = result.aa_mt
    return stages


def statements_about(target: str | None, points: Sequence[Point]) -> list[Statement]:
    """Return what the paper states of a line whose points all agree in what it is about."""
    return [
        statement
        for statement in STATEMENTS
        if statement.target == target and all(_holds(statement, point) for point in points)
    ]


def remark_on(target: str | None) -> str | None:
    """Return what the paper says of a figure in words."""
    return REMARKS.get(target or "")


def _holds(statement: Statement, point: Point) -> bool:
    return all(_text(point.value(key)) == wanted for key, wanted in statement.holds_for.items())


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _model(target: str | None, point: Point) -> PaperResult | None:
    if target not in _TABLES_OF_MODELS or point.columns["augmentation"]:
        return None
    settings = point.settings
    uses_generated = settings["mixing_factor"] < 1
    return result_of(
        settings["dataset"],
        settings["norm"],
        settings["epsilon"],
        settings["architecture"],
        point.kind if uses_generated else None,
        settings["num_samples"] if uses_generated else 0,
        settings["mixing_factor"],
    )

"""The paper's numbers for the points of a table or figure (Gowal et al. 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyrobust.reporting.accuracies import Cascade
from pyrobust.reporting.paper_figures.points import Point
from pyrobust.reporting.protocols import ONE_MILLION
from pyrobust.reporting.published_results import (
    DDPM_OF_TINYIMAGENET,
    PaperResult,
    fraction,
    result_of,
    unlike,
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
        )
        for conditions, percent in percents.items()
    ]


def _neighbours(
    target: str, point: str, source: str, measures: dict[str, float]
) -> list[Statement]:
    """Return what one row of Table 1 or 4 states; shares are given in percent."""
    key, value = point.split("=")
    return [
        Statement(
            target,
            measure,
            number if measure.endswith(("fid", "inception_score")) else fraction(number),
            source,
            {key: value},
        )
        for measure, number in measures.items()
    ]


# Complementarity and coverage (%), Inception score and FID, in the order of `_OF_TABLE_4`.
TABLE_4: dict[str, tuple[float, ...]] = {
    "augmentation=mixup": (96.33, 0.17, 3.50, 98.34, 41.93, 9.33, 7.71),
    "kind=gaussian": (0.80, 0.72, 98.48, 15.80, 16.39, 3.64, 117.62),
    "kind=vdvae": (6.52, 5.71, 87.77, 23.20, 23.69, 6.88, 26.44),
    "kind=biggan": (11.69, 9.55, 78.76, 39.29, 38.89, 9.73, 13.78),
    "kind=ddpm": (31.20, 26.39, 42.41, 44.08, 43.80, 9.50, 3.15),
}
_OF_TABLE_4 = (
    "complementarity_train",
    "complementarity_test",
    "complementarity_self",
    "coverage_train",
    "coverage_test",
    "inception_score",
    "fid",
)
_INCEPTION_METRICS = {
    **{point: dict(zip(_OF_TABLE_4[5:], row[5:], strict=True)) for point, row in TABLE_4.items()},
    "kind=stylegan2": {"inception_score": 10.07, "fid": 2.57},
}

# Appendix D: FID and Inception score of each model's samples before any is selected.
_RAW_SAMPLES = {
    "kind=gaussian": (117.62, 3.64),
    "kind=biggan": (11.07, 9.71),
    "kind=vdvae": (36.88, 6.03),
    "kind=stylegan2": (2.57, 10.04),
    "kind=ddpm": (3.15, 9.50),
}

# What the text states of its tables and figures. Tables 2 and 3 are in RESULTS; the body of
# Tables 1 and 5 and the curves are printed as images, which this project does not measure out.
STATEMENTS: tuple[Statement, ...] = (
    *_about("baseline_ten", "robust_accuracy", {"": 54.44}, "section 6, mean of ten runs"),
    *_about("baseline_ten", "robust_sd", {"": 0.39}, "section 6, mean of ten runs"),
    *(
        statement
        for point, metrics in _INCEPTION_METRICS.items()
        for statement in _neighbours("table1", point, "Table 4 and section 5", metrics)
    ),
    *(
        statement
        for point, row in TABLE_4.items()
        for statement in _neighbours(
            "table4", point, "Table 4", dict(zip(_OF_TABLE_4, row, strict=True))
        )
    ),
    *(
        statement
        for point, metrics in _RAW_SAMPLES.items()
        for statement in _neighbours(
            "table1",
            point,
            "appendix D",
            dict(zip(("raw_fid", "raw_inception_score"), metrics, strict=True)),
        )
    ),
    *_about("table1", "reference_train_covers_test", {"": 52.27}, "footnote 16"),
    *_about("table1", "reference_test_covers_train", {"": 52.08}, "footnote 16"),
    *_neighbours(
        "table5", "augmentation=mixup", "Table 4", _INCEPTION_METRICS["augmentation=mixup"]
    ),
    *_about("figure3a", "robust_accuracy", {"kind=gaussian": 55.37}, "section 3.2", 0.8),
    *_about("figure3a", "robust_accuracy", {"": 54.44}, "section 6", 1.0),
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
    *_about("figure5", "robust_accuracy", {"": 54.44}, "section 6", 1.0),
    *_about(
        "figure10", "clean_accuracy", {"name=DDPM": 85.97}, "Table 2, where robust accuracy is best"
    ),
    *_about(
        "figure6",
        "robust_accuracy",
        {
            "kind=ddpm tested_on=": 58.43,
            "kind=biggan tested_on=": 43.34,
            "kind=ddpm tested_on=ddpm": 64.17,
            "kind=biggan tested_on=biggan": 94.95,
        },
        "appendix B",
        ONE_MILLION,
    ),
    *_about("figure7", "robust_accuracy", {"kind=ddpm": 31.23}, "Table 3, AA+MT, at best"),
    *_about("figure7", "robust_accuracy", {"": 28.75}, "appendix B: 2.48 below 31.23%", 1.0),
    *_about("figure8", "robust_accuracy", {"kind=ddpm": 60.90}, "Table 2, at best"),
    *_about("figure8", "robust_accuracy", {"": 56.83}, "Table 2", 1.0),
    *_about(
        "figure9",
        "robust_accuracy",
        {"selection=as_conditioned": 26.66},
        f"Table 2, at best, {DDPM_OF_TINYIMAGENET}",
    ),
    *_about("figure9", "robust_accuracy", {"": 21.56}, "Table 2", 1.0),
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
    if result is not None:
        accuracy, under = result.robust_under(cascade)
        values["robust_accuracy"] = accuracy
        differs = _unlike(result, point)
        if under != cascade:
            differs.append("the lower of AA+MT and AutoAttack (ours: AA+MT)")
        if result.clean_accuracy is not None:
            values["clean_accuracy"] = result.clean_accuracy
        sources.append(result.source)
    for statement in statements_about(target, [point]):
        if statement.x == x:
            values[statement.measure] = statement.value
            sources.append(statement.source)
    if not values:
        return None
    return Published(values, "; ".join(dict.fromkeys(sources)), "; ".join(differs))


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
    return "" if value is None else str(value)


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


def _unlike(result: PaperResult, point: Point) -> list[str]:
    epochs = float(point.value("training.epochs"))
    recipe = point.settings.get("recipe", "gowal21")
    return unlike(result, point.settings["mixing_factor"], epochs, recipe)

"""The paper's numbers beside the points of a target."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyrobust.reporting.paper import PaperResult, result_of
from pyrobust.reporting.targets.points import Point
from pyrobust.reporting.targets.statements import REMARKS, STATEMENTS, Statement

# Tables whose rows are whole models of the paper.
_TABLES_OF_MODELS = ("table1", "table2", "table3")


@dataclass(frozen=True)
class Published:
    """What the paper says of one point."""

    values: dict[str, float]
    source: str


def published(target: str | None, point: Point, x: float | None = None) -> Published | None:
    """Return the paper's numbers for one point, if its text gives any.

    Args:
        target: table or figure of the paper; None where a target is not one of the paper's.
        x: of the point, for curves; a number that the paper gives for another x, or without
            saying for which, is not taken.
    """
    values: dict[str, float] = {}
    sources: list[str] = []
    result = _model(target, point)
    if result is not None:
        values["robust_accuracy"] = result.robust_accuracy
        if result.clean_accuracy is not None:
            values["clean_accuracy"] = result.clean_accuracy
        sources.append(result.source)
    for statement in statements_about(target, [point]):
        if statement.x == x:
            values[statement.measure] = statement.value
            sources.append(statement.source)
    if not values:
        return None
    return Published(values, "; ".join(dict.fromkeys(sources)))


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
    )

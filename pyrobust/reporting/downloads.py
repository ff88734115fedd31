"""What a reader takes from a page without scripts: a table as CSV or LaTeX, figures as SVG."""

import base64
import csv
from collections.abc import Sequence
from io import StringIO
from typing import Any

from pyrobust.reporting.accuracies import cascade_of, robust_scores
from pyrobust.reporting.figure_style import standalone
from pyrobust.reporting.wording import percent

Record = dict[str, Any]

_ESCAPED = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {"−": "$-$", "±": r"$\pm$"})


def result_table(record: Record) -> list[dict[str, str]]:
    """Return the result as rows of text: means with standard deviations, or the chosen runs."""
    n, baseline = record["num_images"], record["baseline"]
    effect = baseline and baseline["effect"]
    if effect and effect["clean_accuracy"]:
        arms = [{key: effect[f"{key}_accuracy"][arm] for key in ("clean", "robust")}
                for arm in ("experiment", "baseline")]  # fmt: skip
        return [
            {"experiment": name, "runs": str(arm["robust"]["num_runs"])}
            | {
                f"{key} (mean ± sd)": f"{percent(of['mean'], n)} ± {percent(of['std'], n)}"
                for key, of in arm.items()
            }
            for name, arm in zip((record["experiment"], baseline["experiment"]), arms, strict=True)
        ]
    cascade = baseline["attack"] if baseline else cascade_of([record])
    chosen = [(record["experiment"], record | robust_scores(record, cascade))]
    if baseline:
        theirs = {f"{key}_accuracy": baseline[f"{key}_accuracy"]["baseline"]
                  for key in ("clean", "robust")}  # fmt: skip
        chosen.append((baseline["experiment"], theirs))
    return [
        {"experiment": name, "runs": "1 (chosen)"}
        | {key: percent(scores[f"{key}_accuracy"], n) for key in ("clean", "robust")}
        for name, scores in chosen
    ]


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as CSV; columns in the order of their first appearance, the paper's last."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns.sort(key=lambda key: key.startswith("paper_"))
    text = StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Return a value as it is written; numbers with the digits that a measurement has."""
    if isinstance(value, list):
        return " ".join(str(_cell(each)) for each in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value


def as_latex(rows: list[dict[str, str]]) -> str:
    """Return rows as a LaTeX table of the package booktabs."""
    cells = [[key.capitalize() for key in rows[0]], *(list(row.values()) for row in rows)]
    head, *body = (" & ".join(cell.translate(_ESCAPED) for cell in row) + r" \\" for row in cells)
    lines = [r"\begin{tabular}{lrrr}", r"\toprule", head, r"\midrule"]
    return "\n".join([*lines, *body, r"\bottomrule", r"\end{tabular}", ""])


def data_uri(content: str | bytes, kind: str) -> str:
    """Return text or bytes as the address of a file, such as one of kind text/csv."""
    data = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def svg_file(svg: str) -> str:
    """Return a figure of the page as the address of an SVG file with its own colours."""
    return data_uri(standalone(svg), "image/svg+xml")

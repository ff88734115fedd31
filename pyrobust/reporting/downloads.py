"""What a reader takes from a page without scripts: a table as CSV or LaTeX, figures as SVG."""

import base64
import csv
from io import StringIO
from typing import Any

from pyrobust.reporting.figure_style import standalone
from pyrobust.reporting.wording import percent

Record = dict[str, Any]

_COLUMNS = ("experiment", "runs", "clean", "robust")
_ESCAPED = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {"−": "$-$", "±": r"$\pm$"})


def result_table(record: Record) -> list[dict[str, str]]:
    """Return the result as rows of text: means with standard deviations, or the chosen runs."""
    n, baseline = record["num_images"], record["baseline"]
    effect = baseline and baseline["effect"]
    if not effect or not effect["clean_accuracy"]:
        clean, robust = (percent(record[f"{key}_accuracy"], n) for key in ("clean", "robust"))
        rows = [_row(record["experiment"], 1, clean, robust)]
        if baseline:
            clean, robust = (
                percent(baseline[f"{key}_accuracy"]["baseline"], n) for key in ("clean", "robust")
            )
            rows.append(_row(baseline["experiment"], 1, clean, robust))
        return rows
    return [
        _row(
            name,
            effect["robust_accuracy"][key]["num_runs"],
            *(
                f"{percent(arm['mean'], n)} ± {percent(arm['std'], n)}"
                for arm in (effect["clean_accuracy"][key], effect["robust_accuracy"][key])
            ),
        )
        for name, key in (
            (record["experiment"], "experiment"),
            (baseline["experiment"], "baseline"),
        )
    ]


def _row(name: str, runs: int, clean: str, robust: str) -> dict[str, str]:
    return dict(zip(_COLUMNS, (name, str(runs), clean, robust), strict=True))


def as_csv(rows: list[dict[str, str]]) -> str:
    """Return rows as CSV with a head."""
    text = StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_latex(rows: list[dict[str, str]]) -> str:
    """Return rows as a LaTeX table of the package booktabs."""
    lines = [" & ".join(row[key].translate(_ESCAPED) for key in _COLUMNS) for row in rows]
    head = " & ".join(key.capitalize() for key in _COLUMNS)
    body = "\n".join(f"{line} \\\\" for line in lines)
    return (
        "\\begin{tabular}{lrrr}\n\\toprule\n"
        f"{head} \\\\\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
    )


def data_uri(text: str, kind: str) -> str:
    """Return text as the address of a file, such as one of kind text/csv."""
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"


def svg_file(svg: str) -> str:
    """Return a figure of the page as the address of an SVG file with its own colours."""
    return data_uri(standalone(svg), "image/svg+xml")

"""Do measures of generated images predict how much they help? Table 1 on few digits.

    snakemake --cores all results/paper/table1_small.csv
    python benchmarks/measures_and_gains.py results/paper/table1_small.csv

Reads the table and gives, for each measure of the generated images, Spearman's rank correlation
with the gain in robust accuracy over generators, its exact two-sided p-value over all orders, and
its 95 % interval when the training runs of every generator and of the baseline are drawn again
with replacement; the same draws give the interval of its difference from that of FID. Intervals
cover the noise of training; the generators are those in the table.

Writes `benchmarks/results/measures-and-gains.json` and `.md`.
"""

import argparse
import csv
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from pyrobust.cost import device_name
from pyrobust.files import write_json, write_text

RESULTS = Path(__file__).parent / "results"
DRAWS, SEED = 10_000, 0


def imbalance(row: dict[str, str]) -> float:
    """Return how far complementarity is from a third of each set, which is ideal."""
    shares = [float(row[f"complementarity_{name}"]) for name in ("train", "test", "self")]
    return sum(abs(share - 1 / 3) for share in shares)


FID = "FID, negative"
# Each measure so that more is better, as the paper says (section 5).
MEASURES = {
    FID: lambda row: -float(row["fid"]),
    "Inception score": lambda row: float(row["inception_score"]),
    "nearest neighbours evenly spread": lambda row: -imbalance(row),
    "nearest neighbour not in self": lambda row: -float(row["complementarity_self"]),
    "coverage of training images": lambda row: float(row["coverage_train"]),
    "coverage of test images": lambda row: float(row["coverage_test"]),
}


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation; equal values share a rank."""
    ranks = np.stack([rankdata(one), rankdata(other)])
    if (ranks.std(axis=1) == 0).any():
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


def exact_p(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the share of all orders whose correlation is at least as far from zero."""
    seen = abs(correlation(one, other)) - 1e-9
    orders = [abs(correlation(order, other)) for order in permutations(one)]
    return float(np.mean([value >= seen for value in orders]))


def analyse(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Return the gain of each generator, and how each measure correlates with it."""
    runs = {row["name"]: [float(v) for v in row["robust_runs"].split()] for row in rows}
    baselines = [row["name"] for row in rows if not row["fid"]]
    if len(baselines) != 1:
        raise SystemExit(f"expected one row without generated images, found {baselines}")
    generated = [row for row in rows if row["fid"]]
    gains = [float(row["gain"]) for row in generated]
    draw = np.random.default_rng(SEED)
    drawn = np.array([_gains_again(runs, baselines[0], generated, draw) for _ in range(DRAWS)])
    found = {}
    values = {name: [measure(row) for row in generated] for name, measure in MEASURES.items()}
    again = {
        name: np.array([correlation(of, sample) for sample in drawn]) for name, of in values.items()
    }
    for name, of in values.items():
        found[name] = {
            "values": of,
            "correlation": correlation(of, gains),
            "interval_over_seeds": _interval(again[name]),
            "minus_fid_over_seeds": _interval(again[name] - again[FID]),
            "exact_p": exact_p(of, gains),
        }
    return {
        "machine": device_name("cpu"),
        "generators": [
            {
                "name": row["name"],
                "gain": gain,
                "interval": [float(row["gain_low"]), float(row["gain_high"])],
                "num_runs": int(row["num_runs"]),
            }
            for row, gain in zip(generated, gains, strict=True)
        ],
        "measures": found,
    }


def _interval(drawn: np.ndarray) -> list[float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return [float(low), float(high)]


def _gains_again(
    runs: dict[str, list[float]],
    baseline: str,
    generated: list[dict[str, str]],
    draw: np.random.Generator,
) -> list[float]:
    """Return the gains over a baseline, both from runs drawn with replacement."""
    means = {name: draw.choice(values, len(values)).mean() for name, values in runs.items()}
    return [means[row["name"]] - means[baseline] for row in generated]


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    count = len(result["generators"])
    lines = [
        "# Do measures of generated images predict how much they help?",
        "",
        f"{count} generators of 8×8 digits; rank correlation with the gain in robust accuracy.",
        "",
        "| measure, more is better | rank correlation | 95 % interval over seeds | minus FID's | "
        "exact p |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {of['correlation']:+.2f} | {_words(of['interval_over_seeds'])} | "
            f"{'–' if name == FID else _words(of['minus_fid_over_seeds'])} | {of['exact_p']:.3f} |"
            for name, of in result["measures"].items()
        ),
        "",
        "| generator | gain, points | 95 % interval | runs |",
        "| --- | --- | --- | --- |",
        *(
            f"| {of['name']} | {100 * of['gain']:+.1f} | [{100 * of['interval'][0]:+.1f}, "
            f"{100 * of['interval'][1]:+.1f}] | {of['num_runs']} |"
            for of in result["generators"]
        ),
    ]
    return "\n".join(lines) + "\n"


def _words(interval: list[float]) -> str:
    return f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"


def main() -> None:
    """Read the table and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="results/paper/table1_small.csv")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result")
    options = parser.parse_args()
    with options.table.open(encoding="utf-8", newline="") as file:
        result = analyse(list(csv.DictReader(file)))
    write_json(options.results / "measures-and-gains.json", result)
    write_text(options.results / "measures-and-gains.md", table(result))
    print(table(result))


if __name__ == "__main__":
    main()

"""Does generated data help classifiers of few digits? The demo's question, on new seeds.

    snakemake --cores 2 --max-threads 1 --resources gpu=2 --configfile benchmarks/fresh_seeds.yaml \
        -- results/fresh.json results/fresh_gaussian.json
    python benchmarks/digits_effect.py results/fresh.json results/fresh_gaussian.json

The settings of the demo were chosen with its own seeds. This is the same comparison on eight
seeds that played no part in that choice: mean accuracies over training runs under the demo's
AA+MT, and each effect with Welch's 95 % interval. The interval covers the seeds of the
classifiers; data split, test images, generator and samples are the same for all runs.

Writes `benchmarks/results/digits-effect.json`.
"""

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyrobust.cost import device_name
from pyrobust.files import read_json, write_json

RESULTS = Path(__file__).parent / "results" / "digits-effect.json"


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return every arm, and the effect of each record against its baseline.

    Args:
        records: those of `pyrobust report`, with several runs evaluated and a baseline.
    """
    arms, effects = {}, {}
    for record in records:
        effect = record["baseline"]["effect"]
        arms[record["baseline"]["experiment"]] = {
            accuracy: found["baseline"] for accuracy, found in effect.items()
        }
        arms[record["experiment"]] = {
            accuracy: found["experiment"] for accuracy, found in effect.items()
        }
        effects[record["experiment"]] = {
            accuracy: {key: found[key] for key in ("difference", "interval")}
            for accuracy, found in effect.items()
        }
    return {
        "attack": records[0]["settings"]["evaluation"],
        "num_images": records[0]["num_images"],
        "seeds": [run["seed"] for run in records[0]["runs"]],
        "arms": arms,
        "effects": effects,
        "machine": {"device": device_name("cpu"), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "torch": version("torch")},
    }


def main() -> None:
    """Read the records and write the effects."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", type=Path, nargs="+", help="results/<experiment>.json")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    result = summary([read_json(path, "pyrobust report") for path in options.records])
    write_json(options.results, result)
    for name, effect in result["effects"].items():
        robust = effect["robust_accuracy"]
        low, high = (100 * bound for bound in robust["interval"])
        print(f"{name}: {100 * robust['difference']:+.1f} points [{low:+.1f}, {high:+.1f}]")


if __name__ == "__main__":
    main()

"""Does generated data make classifiers of few digits more robust? The demo's question, by PGD-40.

    pyrobust demo --folder .
    python benchmarks/digits_effect.py --project .

Attacks every training run of the demo's three experiments by PGD-40 on the test split, and writes
the mean over runs, and the effect against the baseline with its Welch interval, to
`benchmarks/results/digits-effect.json`. The page of the demo says the same by AA+MT. The intervals
cover the seeds of the classifiers; data split, generator and samples are the same for all runs.
"""

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pyrobust
from pyrobust.cost import device_name
from pyrobust.evaluation.intervals import welch_interval
from pyrobust.files import write_json

RESULTS = Path(__file__).parent / "results" / "digits-effect.json"
BASELINE = "digits_linf_no_generated"
EXPERIMENTS = (BASELINE, "digits_linf_gaussian", "digits_linf")
DATASET, NORM, EPSILON = "digits_few", "linf", "32/255"


def main() -> None:
    """Attack all runs and write the effects."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--project", type=Path, required=True)
    arguments.add_argument("--results", type=Path, default=RESULTS)
    given = arguments.parse_args()
    results = given.project / "results"
    attacked = {}
    for experiment in EXPERIMENTS:
        attacked[experiment] = [
            _attacked(model, given.project / "resources" / "datasets" / DATASET)
            for model in sorted(results.glob(f"train/{experiment}/seed*/model.safetensors"))
        ]
        write_json(given.results, _summary(attacked))
        print(experiment, _arm(attacked[experiment]), flush=True)


def _attacked(model: Path, dataset: Path) -> dict[str, float]:
    result = pyrobust.evaluate(model, dataset, norm=NORM, epsilon=EPSILON, attack="pgd40")
    return {"clean": result.clean_accuracy, "robust": result.robust_accuracy}


def _summary(attacked: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    baseline = [run["robust"] for run in attacked[BASELINE]]
    effects = {}
    for experiment, runs in attacked.items():
        robust = [run["robust"] for run in runs]
        if experiment != BASELINE:
            effects[experiment] = {
                "difference": fmean(robust) - fmean(baseline),
                "welch_95": welch_interval(robust, baseline),
            }
    return {
        "attack": f"PGD-40, {NORM} {EPSILON}, all test images of {DATASET}",
        "runs": attacked,
        "arms": {name: _arm(runs) for name, runs in attacked.items()},
        "effects_on_robust_accuracy": effects,
        "machine": {"device": device_name("cpu"), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "torch": version("torch")},
    }


def _arm(runs: list[dict[str, float]]) -> dict[str, Any]:
    columns = {key: [run[key] for run in runs] for key in ("clean", "robust")}
    return {
        "n": len(runs),
        **{f"{key}_mean": fmean(values) for key, values in columns.items()},
        **{f"{key}_sd": stdev(values) for key, values in columns.items() if len(values) > 1},
    }


if __name__ == "__main__":
    main()

"""Does a small network learn to be robust on CIFAR-10, with and without Gaussian samples?

    snakemake --cores all results/cifar10_linf_small{,_no_generated}.json  # an hour or two
    python benchmarks/learning.py

Puts the experiment beside its baseline without generated data: writes their table to
`benchmarks/results/learning.md`, the curves to `learning.svg` and both to `learning.json`. One run
of each says nothing about the effect of the samples: intervals are over images.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure

from pyrobust.cost import device_name
from pyrobust.files import read_json, write_json, write_text
from pyrobust.reporting.training_curves import read_log

RESULTS = Path(__file__).parent / "results"
EXPERIMENT = "cifar10_linf_small"
MADE_BY = f"snakemake --cores all results/{EXPERIMENT}{{,_no_generated}}.json"
STYLES = {"with Gaussian samples": "#7440a0", "original images only": "#155ca2"}


def read_run(results: Path, experiment: str) -> dict[str, Any]:
    """Return what the chosen run of an experiment learned, and how long it took."""
    record = read_json(results / f"{experiment}.json", MADE_BY)
    run = results / "train" / experiment / f"seed{record['chosen_seed']}"
    cost = read_json(run / "cost.json", MADE_BY)
    log = read_log(run / "log.jsonl")
    return {
        "experiment": experiment,
        "training": record["training"],
        "layout": record["dataset"]["layout"],
        "steps": record["runs"][0]["steps"],
        "minutes": round(cost["seconds"] / 60, 1),
        "images_per_second": cost["images_per_second"],
        "num_images": record["num_images"],
        "clean_accuracy": record["clean_accuracy"],
        "clean_interval": record["clean_interval"],
        "robust_accuracy": record["robust_accuracy"],
        "robust_interval": record["robust_interval"],
        "stages": record["aa_mt"]["stages"],
        "labeller": record["labeller"]["attack_check"],
        "difference": (record["baseline"] or {}).get("robust_accuracy"),
        "validation": log.validation,
        "curve": log.training,
    }


def draw(runs: dict[str, dict[str, Any]]) -> Figure:
    """Draw robust and clean accuracy of training batches and of the validation split."""
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": EXPERIMENT}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        for axes, key in zip(figure.subplots(1, 2), ("robust", "clean"), strict=True):
            for (name, run), marker in zip(runs.items(), "os", strict=True):
                for lines, style in (("curve", "-"), ("validation", f"{marker}--")):
                    axes.plot(
                        [line["step"] for line in run[lines]],
                        [line[f"{key}_accuracy"] for line in run[lines]],
                        style,
                        color=STYLES[name],
                        alpha=0.35 if lines == "curve" else 1.0,
                        label=f"{name}, {'training' if lines == 'curve' else 'validation'}",
                    )
            axes.set(title=f"{key} accuracy", xlabel="step", ylim=(0, None))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure


def table(runs: dict[str, dict[str, Any]], machine: str) -> str:
    """Return the result as Markdown."""
    first = next(iter(runs.values()))
    training = first["training"]
    lines = [
        "# A small network on CIFAR-10",
        "",
        f"{training['architecture']}, {first['steps']} steps of {training['batch_size']} images, "
        f"{training['precision']}, linf 8/255; {first['num_images']} test images, layout "
        f"{first['layout']}; {machine}. One run each, 95 % intervals over images.",
        "",
        "| training images | clean | AA+MT | minutes | images/s |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, run in runs.items():
        lines.append(
            f"| {name} | {_share(run['clean_accuracy'], run['clean_interval'])} | "
            f"{_share(run['robust_accuracy'], run['robust_interval'])} | {run['minutes']} | "
            f"{run['images_per_second']:.0f} |"
        )
    difference = first["difference"]
    low, high = (100 * bound for bound in difference["interval"])
    lines += [
        "",
        f"Robust accuracy of these two models, with Gaussian samples minus without, on the same "
        f"images: {100 * difference['difference']:+.1f} points [{low:+.1f}, {high:+.1f}]. Training "
        f"again would give other models, so this difference says nothing about the samples. The "
        f"non-robust labeller keeps {first['labeller']['robust_accuracy']:.1%} under the same "
        "attack.",
        "",
        "![curves](learning.svg)",
    ]
    return "\n".join(lines) + "\n"


def _share(value: float, interval: list[float]) -> str:
    low, high = (100 * bound for bound in interval)
    return f"{100 * value:.1f} % [{low:.1f}, {high:.1f}]"


def main() -> None:
    """Read both records and write table, curves and numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=Path(), help="where snakemake ran")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder that the numbers are written to"
    )
    options = parser.parse_args()
    names = (EXPERIMENT, f"{EXPERIMENT}_no_generated")
    runs = {
        label: read_run(options.project / "results", name)
        for label, name in zip(STYLES, names, strict=True)
    }
    target = options.results
    machine = f"{device_name('cpu')}, torch {torch.__version__}"
    write_json(target / "learning.json", {"machine": machine, "runs": runs})
    text = table(runs, machine)
    write_text(target / "learning.md", text)
    draw(runs).savefig(target / "learning.svg", metadata={"Date": None})
    print(text)


if __name__ == "__main__":
    main()

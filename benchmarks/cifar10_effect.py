"""Does generated data help a small network that overfits a few thousand CIFAR-10 images?

    pyrobust dataset cifar10 --data-root DIR --output cifar10
    python benchmarks/cifar10_effect.py --dataset cifar10 --work work/cifar10_effect

Keeps a few thousand training images, fits generators on these alone, trains networks with and
without their samples, several seeds of each, and attacks every network by AA+MT. The first seed
of every arm comes before the second of any, and the result is written after each run: an arm with
fewer runs than `--seeds` was not finished, and the table says so. Interrupt it at any time; the
same command resumes, and finished runs are not repeated.

Writes `benchmarks/results/cifar10-effect.json`, `.md` and `.svg` (accuracy on training and
validation images over the steps).
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyrobust.analysis.image_subsets import balanced_subset
from pyrobust.cost import device_name
from pyrobust.data.dataset import Dataset
from pyrobust.files import atomic_path, read_json, write_json, write_text
from pyrobust.reporting.effects import arm_of, effect_of
from pyrobust.reporting.figure_style import as_svg, drawing, standalone
from pyrobust.reporting.overfitting import Y_LABEL, draw_overfitting, overfitting_of

RESULTS = Path(__file__).parent / "results"
MADE_BY = "python benchmarks/cifar10_effect.py"
BASELINE = "original images only"


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        mixing_factor: share of original images in a batch.
        generator: flags of `pyrobust fit-generator`; empty without generated images.
    """

    mixing_factor: float
    generator: tuple[str, ...] = ()


# The mixing factors are the paper's best for a Gaussian (Figure 3a) and for a diffusion model.
ARMS = {
    BASELINE: Arm(1.0),
    "gaussian": Arm(0.8, ("--type", "gaussian")),
    "edm": Arm(0.3, ("--type", "edm", "--preset", "small")),
}
THREAT = ("--norm", "linf", "--epsilon", "8/255")
# AA+MT with one restart and a quarter of the multi-targeted steps.
ATTACK = (
    *("--apgd-ce-restarts", "1", "--apgd-dlr-restarts", "1"),
    *("--multitargeted-steps", "50", "--multitargeted-restarts", "1", "--search", "bfloat16"),
)


class Study:
    """Stages as the command line runs them, each in its own folder below `--work`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._work = options, options.work
        self._dataset = self._work / "dataset"

    def prepare(self) -> None:
        """Write the data set: few images for training and validation, and all test images."""
        raw, options = self._work / "raw", self._options
        whole = Dataset.open(options.dataset)
        labels, classes = whole.train.labels(), whole.num_classes
        per_class = (options.num_original + options.num_validation) // classes
        for store, rows in (
            (whole.train, balanced_subset(labels, classes, per_class, seed=0)),
            (whole.test, np.arange(whole.test.count)),
        ):
            name = "train" if store is whole.train else "test"
            if not (raw / f"{name}.npz").is_file():
                with atomic_path(raw / f"{name}.npz") as path, path.open("wb") as file:
                    np.savez(file, image=store.gather(rows), label=store.labels()[rows])
        settings = ("--layout", "npz", "--path", raw, "--validation-size", options.num_validation)
        self._run(self._dataset, "dataset.json", "dataset", "cifar10", *settings)

    def samples(self, name: str, arm: Arm) -> Path:
        """Return the store of the samples of an arm, labelled by the class asked for."""
        generator, samples = self._work / "generators" / name, self._work / "samples" / name
        found: tuple[object, ...] = ("--dataset", self._dataset, *arm.generator)
        if name == "edm":
            found += ("--training-steps", self._options.edm_steps, "--sampling-steps", 10)
        self._run(generator, "generator.json", "fit-generator", *found)
        size = ("--part", 0, "--part-size", self._options.num_samples)
        self._run(samples, "manifest.json", "sample", "--generator", generator, *size)
        return samples

    def robust_accuracy(self, name: str, arm: Arm, seed: int) -> dict[str, Any]:
        """Train and attack one network; return what its record and its history say."""
        options = self._options
        run = self.run_folder(name, seed)
        flags = ["--dataset", self._dataset, "--mixing-factor", arm.mixing_factor, "--seed", seed]
        if arm.generator:
            flags += ["--samples", self.samples(name, arm)]
        for key in ("architecture", "epochs", "batch_size", "validations", "gap_images"):
            flags += [f"--{key.replace('_', '-')}", getattr(options, key)]
        self._run(run, "training.json", "train", *THREAT, "--precision", "bfloat16", *flags)
        model = ("--model", run / "model.safetensors", "--dataset", self._dataset)
        size = ("--num-images", options.num_images)
        attacked = run / "evaluation"
        self._run(attacked, "evaluation.json", "evaluate", *model, *THREAT, *ATTACK, *size)
        training = read_json(run / "training.json", MADE_BY)
        evaluation = read_json(attacked / "evaluation.json", MADE_BY)
        return {
            "seed": seed,
            "clean_accuracy": evaluation["clean_accuracy"],
            "robust_accuracy": evaluation["robust_accuracy"],
            "steps": training["steps"],
            "best_step": training["best_step"],
            "history": training["history"],
            "minutes": round(read_json(run / "cost.json", MADE_BY)["seconds"] / 60, 1),
        }

    def run_folder(self, name: str, seed: int) -> Path:
        """Return the folder of one training run."""
        return self._work / "train" / name.replace(" ", "_") / f"seed{seed}"

    def curves(self, runs: dict[str, int]) -> str:
        """Draw accuracy on training and validation images over the steps, mean over runs, as SVG.

        Args:
            runs: the number of finished runs of each arm.
        """
        finished = {name: count for name, count in runs.items() if count}
        with drawing(3.4 * len(finished), 3.2, [1.0] * len(finished)) as (figure, panels):
            for axes, (name, count) in zip(panels, finished.items(), strict=True):
                files = [self.run_folder(name, seed) / "training.json" for seed in range(count)]
                found = overfitting_of([read_json(file, MADE_BY) for file in files])
                if found:  # not with --gap-images 0
                    draw_overfitting(axes, found)
                axes.set_title(name, fontsize=8)
            panels[0].set_ylabel(Y_LABEL)
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
            return standalone(as_svg(figure, "Robust accuracy on training and validation images"))

    def _run(self, folder: Path, result: str, verb: str, *arguments: object) -> None:
        """Run a verb of the command line unless its result is there."""
        if (folder / result).is_file():
            return
        command = [sys.executable, "-m", "pyrobust", verb, *arguments, "--output", folder]
        subprocess.run([str(word) for word in command], check=True)


def summary(options: argparse.Namespace, arms: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return every run, each arm over its seeds, and each effect with Welch's interval."""
    robust = {name: [run["robust_accuracy"] for run in runs] for name, runs in arms.items()}
    return {
        "machine": f"{device_name('cpu')}, torch {torch.__version__}",
        "options": {
            key: value for key, value in vars(options).items() if not isinstance(value, Path)
        },
        "arms": {
            name: {
                "mixing_factor": ARMS[name].mixing_factor,
                "generator": ARMS[name].generator,
                "runs": runs,
                "missing_runs": options.seeds - len(runs),
                "robust_accuracy": arm_of(robust[name]) if runs else None,
            }
            for name, runs in arms.items()
        },
        "effects": {
            name: effect_of(robust[name], robust[BASELINE]) for name in arms if name != BASELINE
        },
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    options = result["options"]
    lines = [
        "# Generated data on few CIFAR-10 images",
        "",
        f"{options['architecture']}, {options['num_original']:,} original images, "
        f"{options['num_samples']:,} samples of each generator, {options['epochs']} "
        f"CIFAR-10-equivalent epochs in batches of {options['batch_size']}; AA+MT with one restart "
        f"on {options['num_images']:,} test images, linf 8/255. {result['machine']}. The effect is "
        "the difference of means over seeds with Welch's 95 % interval; it needs three runs of "
        "both arms.",
        "",
        "| arm | mixing factor | runs | missing | robust accuracy | effect, points | best steps |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_row(result, name) for name in result["arms"]),
    ]
    return "\n".join(lines) + "\n"


def _row(result: dict[str, Any], name: str) -> str:
    arm, effect = result["arms"][name], result["effects"].get(name)
    robust, difference = arm["robust_accuracy"], "–"
    mean = f"{robust['mean']:.1%}" if robust else "–"
    if robust and robust["std"] is not None:
        mean += f" (sd {robust['std']:.1%})"
    if effect:
        low, high = (100 * value for value in effect["interval"])
        difference = f"{100 * effect['difference']:+.1f} [{low:+.1f}, {high:+.1f}]"
    best = ", ".join(f"{run['best_step']:,} of {run['steps']:,}" for run in arm["runs"]) or "–"
    counts = f"{len(arm['runs'])} | {arm['missing_runs']}"
    return f"| {name} | {arm['mixing_factor']} | {counts} | {mean} | {difference} | {best} |"


def main() -> None:
    """Run what is missing, and write the result after each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, required=True, help="what 'pyrobust dataset' wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder to resume from")
    parser.add_argument("--architecture", default="wrn-10-2")
    parser.add_argument("--num-original", type=int, default=3000)
    parser.add_argument("--num-validation", type=int, default=500)
    parser.add_argument("--num-samples", type=int, default=30_000)
    parser.add_argument("--edm-steps", type=int, default=20_000, help="updates of 64 images")
    parser.add_argument("--num-images", type=int, default=1000, help="test images attacked")
    parser.add_argument("--epochs", type=float, default=8.0, help="of 50,000 images each")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--validations", type=int, default=8)
    parser.add_argument("--gap-images", type=int, default=256, help="training images attacked")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    options = parser.parse_args()
    if BASELINE not in options.arms:
        parser.error(f"--arms lacks '{BASELINE}', which the others are compared with")
    study = Study(options)
    study.prepare()
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in options.arms}
    for seed in range(options.seeds):
        for name, finished in runs.items():
            finished.append(study.robust_accuracy(name, ARMS[name], seed))
            result = summary(options, runs)
            write_json(options.results / "cifar10-effect.json", result)
            write_text(options.results / "cifar10-effect.md", table(result))
            counts = {arm: len(of_arm) for arm, of_arm in runs.items()}
            write_text(options.results / "cifar10-effect.svg", study.curves(counts))


if __name__ == "__main__":
    main()

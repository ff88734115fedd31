"""A complete small tree of stage outputs with plausible values, made in a second."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.report import BaselineInputs, GeneratedInputs, ReportInputs
from pyrobust.config.training import TrainSettings
from pyrobust.data.dataset import Dataset
from pyrobust.files import write_json
from tests.reporting.fake_images import (
    COUNTS,
    NUM_GENERATED,
    make_cost,
    make_dataset,
    make_generated,
)

STAGES = ("apgd_ce", "apgd_dlr", "multitargeted")
SMALL_ATTACK = {
    f"{attack}_{key}": value for attack in STAGES for key, value in (("steps", 20), ("restarts", 1))
}

CURVE = ("16/255", "64/255")


TRAINING = {"epochs": 4, "batch_size": 128}


def experiment_values(**changes: Any) -> dict[str, Any]:
    """Return settings as the workflow passes them to the verb."""
    settings: dict[str, Any] = {
        "dataset": "digits",
        "norm": "linf",
        "epsilon": "32/255",
        "architecture": "wrn-10-2",
        "mixing_factor": 0.3,
        "num_samples": NUM_GENERATED,
        "seeds": [0, 1],
        "test_runs": "all",
        "training": TRAINING,
        "generator": {"name": "gaussian_small", "type": "gaussian", "jitter": 1e-4},
        "selection": {"name": "until_full", "min_distance": 0.05},
        "labeller": {"name": "digits", "architecture": "wrn-10-2", "epochs": 1},
        "evaluation": {"name": "small", **SMALL_ATTACK, "curve": CURVE},
        "analysis": {"name": "small", "num_samples": 200},
    }
    return {**settings, **changes}


def make_stages(root: Path) -> ReportInputs:
    """Write every stage of one experiment and of its baseline under `root`."""
    random = np.random.default_rng(0)
    labels = make_dataset(root / "dataset", random)
    _make_labeller(root / "labeller")
    make_generated(root, random)
    for seed in (0, 1):
        _make_run(root / f"train/seed{seed}", seed, random)
    _make_choice(root / "train", 1)
    _make_choice(root / "baseline/train", 0)
    _make_evaluation(root / "evaluate/labeller", labels, [0.96, 0.03, 0.01, 0.0], random)
    _make_evaluation(root / "evaluate/seed0", labels, [0.93, 0.60, 0.58, 0.57], random)
    _make_evaluation(root / "evaluate/seed1", labels, [0.94, 0.66, 0.63, 0.62], random)
    _make_evaluation(root / "baseline/evaluate/seed0", labels, [0.95, 0.5, 0.48, 0.46], random)
    _make_evaluation(root / "baseline/evaluate/seed1", labels, [0.95, 0.5, 0.47, 0.44], random)
    _make_landscape(root / "landscape")
    return ReportInputs(
        name="digits_linf",
        experiment=experiment_values(),
        dataset=root / "dataset/dataset.json",
        labeller=root / "labeller/labeller.json",
        labeller_evaluation=root / "evaluate/labeller/evaluation.json",
        runs=tuple(root / f"train/seed{seed}/training.json" for seed in (0, 1)),
        choice=root / "train/choice.json",
        evaluations=tuple(root / f"evaluate/seed{seed}/evaluation.json" for seed in (0, 1)),
        landscape=root / "landscape/landscape.json",
        generated=GeneratedInputs(
            generator=root / "generator/generator.json",
            samples=root / "samples/manifest.json",
            neighbours=root / "analysis/neighbours.json",
            quality=root / "analysis/quality.json",
        ),
        baseline=BaselineInputs(
            name="digits_linf_no_generated",
            experiment=experiment_values(mixing_factor=1),
            choice=root / "baseline/train/choice.json",
            evaluations=tuple(
                root / f"baseline/evaluate/seed{seed}/evaluation.json" for seed in (0, 1)
            ),
        ),
    )


def without_baseline(inputs: ReportInputs, **changes: Any) -> ReportInputs:
    """Return the inputs of a report that compares with nothing."""
    return inputs.model_copy(update={"baseline": None, **changes})


def add_seeds(
    inputs: ReportInputs, robust: Sequence[float], baseline: Sequence[float]
) -> ReportInputs:
    """Add runs with these robust accuracies after AA+MT, from seed 2 on; return the new inputs."""
    assert inputs.baseline
    root, random = inputs.dataset.parents[1], np.random.default_rng(1)
    labels = Dataset.open(inputs.dataset.parent).test.labels()
    runs, evaluations, others = [], [], []
    for seed, level in enumerate(robust, 2):
        runs.append(root / f"train/seed{seed}/training.json")
        _make_run(runs[-1].parent, seed, random)
        evaluations.append(root / f"evaluate/seed{seed}/evaluation.json")
        _make_evaluation(evaluations[-1].parent, labels, [0.94, level, level, level], random)
    for seed, level in enumerate(baseline, 2):
        others.append(root / f"baseline/evaluate/seed{seed}/evaluation.json")
        _make_evaluation(others[-1].parent, labels, [0.94, level, level, level], random)
    theirs = (*inputs.baseline.evaluations, *others)
    return inputs.model_copy(
        update={
            "runs": (*inputs.runs, *runs),
            "evaluations": (*inputs.evaluations, *evaluations),
            "baseline": inputs.baseline.model_copy(update={"evaluations": theirs}),
        }
    )


def _make_labeller(folder: Path) -> None:
    write_json(
        folder / "labeller.json",
        {
            "settings": {"architecture": "wrn-10-2", "epochs": 1.0},
            "spec": {"architecture": "wrn-10-2"},
            "test_accuracy": 0.96,
            "validation_accuracy": 0.97,
            "num_test_images": 200,
        },
    )
    make_cost(folder, 21.0, images_per_second=2400.0)


def _make_run(folder: Path, seed: int, random: np.random.Generator) -> None:
    steps = np.arange(10, 410, 10)
    rise = 1 - np.exp(-steps / 120)
    validations = [
        {
            "step": int(step),
            "clean_accuracy": float(0.95 * level),
            "robust_accuracy": float(0.66 * level),
            **{
                f"{of}_{key}_accuracy": float(up * level)
                for of, up in (("train", 0.8), ("live", 0.6), ("live_train", 0.9))
                for key in ("clean", "robust")
            },
        }
        for step, level in zip(steps[3::4], rise[3::4], strict=True)
    ]
    best = validations[-2 + seed % 2]
    settings = TrainSettings(architecture="wrn-10-2", epsilon="32/255", seed=seed, **TRAINING)
    write_json(
        folder / "training.json",
        {
            "settings": settings.model_dump(mode="json"),
            "spec": {"architecture": "wrn-10-2"},
            "steps": 400,
            "best_step": best["step"],
            "validation": {
                "clean_accuracy": best["clean_accuracy"],
                "robust_accuracy": best["robust_accuracy"],
                "num_images": COUNTS["validation"],
                "attack": "pgd40",
            },
            "history": validations,
            "num_original": COUNTS["train"],
            "num_generated": NUM_GENERATED,
        },
    )
    lines = [
        {
            "step": int(step),
            "epoch": float(step / 100),
            "learning_rate": float(0.1 * (1 - step / 400)),
            "loss": float(2.3 - 1.5 * level + random.normal(0, 0.05)),
            "clean_loss": float(1.2 - level),
            "robust_loss": float(1.1 - 0.5 * level),
            "clean_accuracy": float(0.9 * level + random.normal(0, 0.02)),
            "robust_accuracy": float(0.6 * level + random.normal(0, 0.02)),
        }
        for step, level in zip(steps, rise, strict=True)
    ]
    lines += [{**v, "split": "validation", "epoch": v["step"] / 100} for v in validations]
    lines.sort(key=lambda line: line["step"])
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    make_cost(folder, 95.0, images_per_second=540.0)


def _make_choice(folder: Path, seed: int) -> None:
    runs = [{"seed": s, "best_step": 400, "validation": {}} for s in (0, 1)]
    write_json(folder / "choice.json", {"chosen_seed": seed, "runs": runs})


def _make_evaluation(
    folder: Path, labels: np.ndarray, levels: list[float], random: np.random.Generator
) -> None:
    """Write an evaluation that leaves `levels` of the images: clean, then after every stage."""
    count = len(labels)
    left = [round(level * count) for level in levels]
    rank = random.permutation(count)
    wrong = (labels + 1 + random.integers(9, size=count)) % 10
    broken_by = [
        next((name for name, n in zip(STAGES, left[1:], strict=True) if rank[i] >= n), None)
        if rank[i] < left[0]
        else None
        for i in range(count)
    ]
    rows = {
        "image": np.arange(count),
        "label": labels,
        "clean_prediction": np.where(rank < left[0], labels, wrong),
        "clean_correct": rank < left[0],
        "broken_by": broken_by,
        "adversarial_prediction": np.where(rank < left[-1], labels, wrong),
        "margin": random.normal(0, 1, count).astype(np.float32),
        "perturbation_norm": np.full(count, 32 / 255, np.float32),
    }
    stages = [
        {
            "name": name,
            "attack": "APGD on cross entropy, 1 × 20 steps",
            "robust_accuracy": n / count,
            "num_standing": n,
            "seed": 0,
        }
        for name, n in zip(STAGES, left[1:], strict=True)
    ]
    write_json(
        folder / "evaluation.json",
        {
            "norm": "linf",
            "epsilon": "32/255",
            "settings": EvaluationSettings(**SMALL_ATTACK, curve=CURVE).model_dump(mode="json"),
            "num_images": count,
            "clean_accuracy": left[0] / count,
            "stages": stages,
            "robust_accuracy": left[-1] / count,
            "autoattack": None,
            "worst": left[-1] / count,
            "curve": [
                {"epsilon": epsilon, "num_standing": n, "robust_accuracy": n / count}
                for epsilon, n in (("16/255", left[1]), ("32/255", left[-1]), ("64/255", 0))
            ],
            "checks": [{"name": "finite_logits", "passed": True, "seen": "0 of 64 images without"}],
            "notes": [],
        },
    )
    pq.write_table(pa.table(rows), folder / "rows.parquet")
    make_cost(folder, 12.0, images_per_second=16.0)


def _make_landscape(folder: Path) -> None:
    axis = np.linspace(-0.25, 0.25, 21)
    u, v = np.meshgrid(axis, axis)
    images = [
        {
            "image": image,
            "label": label,
            "u": axis.tolist(),
            "v": axis.tolist(),
            "margin": (1.5 - 6 * u - image - 8 * v**2 + 5 * u**2).tolist(),
        }
        for image, label in ((0, 3), (1, 7))
    ]
    write_json(folder / "landscape.json", {"images": images, "norm": "linf", "epsilon": "32/255"})

"""Made-up results for every point of the paper's targets, as the workflow would hand them over."""

from pathlib import Path
from typing import Any

import numpy as np

from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.sweeps import Sweeps, resolve_targets
from pyrobust.data.store import StoreWriter
from pyrobust.files import write_json
from pyrobust.planning.paper import read_configuration

ROOT = Path(__file__).parents[2]
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_ROBUST = {"gaussian": 0.54, "vdvae": 0.545, "biggan": 0.55, "stylegan2": 0.58, "ddpm": 0.605}
_WIDTH = {"resnet-18": -0.05, "wrn-28-10": 0.0, "wrn-70-16": 0.03}
_LABELLERS = {"wrn-28-10_epochs1": 0.6, "wrn-28-10_epochs2": 0.72, "wrn-28-10_epochs4": 0.81,
              "wrn-28-10_epochs10": 0.89, "wrn-28-10": 0.9568}  # fmt: skip

Json = dict[str, Any]


def load_config() -> Json:
    """Return the project's configuration with its defaults."""
    return read_configuration(ROOT / "config").model_dump(mode="json")


def resolve(config: Json) -> Sweeps:
    """Return the points of all targets."""
    return resolve_targets(config, ROOT / "config/sweeps")


def points_of(target: str, config: Json, sweeps: Sweeps, folder: Path) -> list[Json]:
    """Write the files of a target's points, and return the points."""
    settings = config["targets"][target]
    points = []
    for number, point in enumerate(sweeps.points[target]):
        generator = point["settings"]["generator"]
        kind = config["generators"].get(generator, {"type": "mixture"})["type"]
        files = _write(settings, point, kind, folder / target / str(number))
        points.append({**point, "kind": kind, "files": files})
    return points


def _write(target: Json, point: Json, kind: str, folder: Path) -> dict[str, str]:
    match target["show"]:
        case "landscapes":
            return {"landscape": _landscape(folder)}
        case "samples":
            return {"samples": _samples(folder)}
        case "neighbours" if point["augmentation"] or not target["trained"]:
            return _neighbours(kind, folder)
        case "neighbours":
            return _neighbours(kind, folder) | _trained(point, kind, folder)
    return _trained(point, kind, folder)


def _trained(point: Json, kind: str, folder: Path) -> dict[str, str]:
    settings = point["settings"]
    share = settings["mixing_factor"]
    gain = _ROBUST.get(kind, 0.3 + 0.6 * (point["mixture_share"] or 0)) - 0.5444
    gain += 0.002 * (point["mixture_classes"] or 0)
    labeller = _LABELLERS[settings["labeller"]]
    robust = 0.5444 + (1 - share) * gain - 0.1 * (share - 0.5) ** 2 + 0.1 * (labeller - 0.95)
    robust += _WIDTH[settings["architecture"]] + 0.01 * np.log10(settings["num_samples"] / 1e6)
    robust = min(robust + (0.06 if point["tested_on"] else 0), 0.9)
    left = {"apgd_ce": robust + 0.028, "apgd_dlr": robust + 0.004, "multitargeted": robust}
    also = {"apgd-ce": robust + 0.028, "apgd-t": robust, "fab-t": robust, "square": robust}
    write_json(
        folder / "chosen/evaluation.json",
        {"norm": settings["norm"], "epsilon": settings["epsilon"], "num_images": 10_000,
         "clean_accuracy": min(robust + 0.25, 0.99), "worst": robust, "curve": [], "checks": [],
         "notes": [],
         "settings": EvaluationSettings().model_dump(mode="json"), **_cascade(left),
         "autoattack": _cascade(also) if point["evaluation"] == "autoattack" else None},
    )  # fmt: skip
    validation = {"robust_accuracy": robust}
    runs = [{"seed": 0, "best_step": 1, "validation": validation}]
    write_json(folder / "choice.json", {"chosen_seed": 0, "runs": runs})
    write_json(folder / "labeller.json", {"test_accuracy": labeller})
    write_json(folder / "dataset.json", {"counts": {"test": 10_000}})
    files = {name: str(folder / f"{name}.json") for name in ("choice", "labeller", "dataset")}
    return {**files, "evaluation": str(folder / "chosen/evaluation.json")}


def _cascade(left: dict[str, float]) -> Json:
    stages = [
        {"name": name, "attack": "", "seed": 0, "num_standing": 0, "robust_accuracy": accuracy}
        for name, accuracy in left.items()
    ]
    return {"robust_accuracy": min(left.values()), "stages": stages}


def _neighbours(kind: str, folder: Path) -> dict[str, str]:
    among = {"gaussian": 0.9, "ddpm": 0.4}.get(kind, 0.7)
    shares = {"train": (1 - among) / 2, "test": (1 - among) / 2, "self": among}
    coverage = {"train": 0.9 - among / 2, "test": 0.85 - among / 2}
    write_json(
        folder / "neighbours.json",
        {"complementarity": shares, "coverage": coverage,
         "reference": {"train_covers_test": 0.52, "test_covers_train": 0.52}, "num_samples": 10_000,
         "extractor": "inception"},
    )  # fmt: skip
    write_json(
        folder / "quality.json",
        {"inception_score": {"mean": 9.0, "std": 0.1}, "fid": 4.0, "num_images": 50_000,
         "extractor": "inception"},
    )  # fmt: skip
    return {name: str(folder / f"{name}.json") for name in ("neighbours", "quality")}


def _landscape(folder: Path) -> str:
    axis = np.linspace(-8 / 255, 8 / 255, 21)
    margin = 0.5 - 12 * (axis[None, :] + 0.3 * np.abs(axis[:, None]))
    image = {"u": axis.tolist(), "v": axis.tolist(), "margin": margin.tolist()}
    images = [{"image": number, "label": 3, **image} for number in range(4)]
    write_json(folder / "l.json", {"norm": "linf", "epsilon": "8/255", "images": images})
    return str(folder / "l.json")


def _samples(folder: Path) -> str:
    random = np.random.default_rng(0)
    writer = StoreWriter(folder, (32, 32, 3), CLASSES, 200, {}, "a test")
    writer.append(random.integers(0, 256, (200, 32, 32, 3), np.uint8), np.arange(200) % 10)
    writer.finish()
    return str(folder / "manifest.json")

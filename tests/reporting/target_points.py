"""Points of a table or figure as the workflow writes them, and the verb run on them."""

import csv
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from pyrobust.cli import app
from pyrobust.files import write_json

SETTINGS = {
    "dataset": "cifar10", "norm": "linf", "epsilon": "8/255", "architecture": "wrn-28-10",
    "generator": "ddpm", "selection": "until_full", "num_samples": 1_000_000,
    "mixing_factor": 0.3, "labeller": "wrn-28-10",
}  # fmt: skip
COLUMNS = dict.fromkeys(
    ("name", "augmentation", "evaluation", "analysis", "quality_analysis", "tested_on",
     "test_selection", "test_samples", "mixture_share", "mixture_classes")
)  # fmt: skip


def evaluation(path: Path, clean: float, robust: float, epsilon: str = "8/255") -> str:
    stage = {"name": "apgd_ce", "attack": "", "seed": 0, "num_standing": 0}
    cascade = {"robust_accuracy": robust, "stages": [{**stage, "robust_accuracy": robust}]}
    write_json(
        path / "evaluation.json",
        {"norm": "linf", "epsilon": epsilon, "num_images": 1000, "clean_accuracy": clean,
         "worst": robust, "autoattack": None, "settings": {}, "checks": [], "notes": [],
         "curve": [],
         **cascade},
    )  # fmt: skip
    return str(path / "evaluation.json")


def point_maker(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that writes the files of a point and returns its JSON."""
    count = iter(range(100))
    write_json(tmp_path / "labeller.json", {"test_accuracy": 0.9568})
    write_json(tmp_path / "dataset.json", {"counts": {"test": 1200}})

    def make(
        robust: float | list[float] = 0.6,
        name: str | None = None,
        validation: float = 0.6,
        **changed: Any,
    ) -> dict[str, Any]:
        folder = tmp_path / f"point{next(count)}"
        levels = robust if isinstance(robust, list) else [robust]
        names = [f"seed{seed}" for seed in range(len(levels))] if len(levels) > 1 else ["chosen"]
        runs = [
            {"seed": seed, "best_step": 1, "validation": {"robust_accuracy": validation}}
            for seed in range(len(levels))
        ]
        write_json(folder / "choice.json", {"chosen_seed": 0, "runs": runs})
        files = {
            "evaluation": [
                evaluation(folder / name, 0.86, level)
                for name, level in zip(names, levels, strict=True)
            ],
            "choice": str(folder / "choice.json"),
            "labeller": str(tmp_path / "labeller.json"),
            "dataset": str(tmp_path / "dataset.json"),
        }
        columns = {key: changed.pop(key) for key in list(changed) if key in COLUMNS}
        kind = changed.pop("kind", "ddpm")
        return {
            "experiment": "e",
            "kind": kind,
            "settings": {**SETTINGS, **changed},
            "files": files,
            **COLUMNS,
            **columns,
            "name": name,
        }

    return make


def make(
    tmp_path: Path, settings: dict[str, Any], points: list[dict[str, Any]], name: str = "t"
) -> tuple[list[dict[str, str]], str]:
    """Run the verb; return the rows of its table and the text of its SVG."""
    endings = {"table": "csv", "picture": "png", "figure": "svg"}
    paths = {kind: tmp_path / f"{name}.{ending}" for kind, ending in endings.items()}
    described = {"name": name, "settings": {"title": "A title", **settings}, "points": points}
    write_json(tmp_path / "inputs.json", described)
    arguments = ["target", str(tmp_path / "inputs.json")]
    for kind, path in paths.items():
        arguments += [f"--{kind}", str(path)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert paths["picture"].read_bytes().startswith(b"\x89PNG")
    text = paths["table"].read_text()
    return list(csv.DictReader(StringIO(text))), paths["figure"].read_text()

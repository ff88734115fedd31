"""How long jobs may run, and which run first.

A stage that its wall time ends saves its state, and the next attempt resumes from there. So a
longer stage needs more attempts and not a longer job.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrobust.config.yaml_files import read_yaml
from pyrobust.errors import UserError

# Minutes. Most sites allow two days.
WALL_TIMES = {
    "make_dataset": 60,
    "train_labeller": 480,
    "fit_generator": 2880,
    "sample_part": 60,
    "label_part": 10,
    "measure_distances": 10,
    "select_samples": 240,
    "extract_original_features": 60,
    "extract_generated_features": 240,
    "find_neighbours": 60,
    "measure_quality": 60,
    "train_robust": 2880,
    "evaluate_run": 2880,
    "evaluate_labeller": 240,
    "map_landscape": 30,
    "mix_samples": 60,
    "augment_images": 60,
}

# With `whole_sets`, every image is compared with every other.
WHOLE_SETS = 1440

# Of two jobs that could start, the one with the higher number does: what has most stages behind
# it. A long sampling then starts before the trainings of other experiments take all GPUs.
PRIORITIES = {
    "build_core": 100,
    "make_dataset": 100,
    "train_labeller": 90,
    "fit_generator": 90,
    "sample_part": 80,
    "label_part": 80,
    "measure_distances": 80,
    "select_samples": 70,
    "mix_samples": 70,
    "train_robust": 60,
    "evaluate_run": 50,
}


def count_gpus(gpu: int = 0, gres: str = "", nodes: int = 1) -> int:
    """Return the GPUs of each node of a job, at least 1.

    Args:
        gpu: Snakemake's resource, of all nodes together.
        gres: Slurm's generic resource instead, for sites without --gpus: gpu:4 or gpu:h100:4.
    """
    number = gres.rsplit(":", 1)[-1]
    of_gres = int(number) if gres.startswith("gpu") and number.isdecimal() else 0
    return max(1, gpu // nodes, of_gres)


@dataclass(frozen=True)
class Allowance:
    """How long a profile lets a job run, over all its attempts."""

    attempts: int
    minutes: int
    """Of one attempt."""

    @property
    def seconds(self) -> float:
        """All attempts together."""
        return 60.0 * self.attempts * self.minutes


def allowance(profile: Mapping[str, Any], rule: str, whole_sets: bool = False) -> Allowance:
    """Return what a profile allows a job of `rule`."""
    of_rule = (profile.get("set-resources") or {}).get(rule) or {}
    own = WHOLE_SETS if whole_sets and rule == "find_neighbours" else WALL_TIMES[rule]
    return Allowance(1 + int(profile.get("retries") or 0), _minutes(of_rule.get("runtime", own)))


def _minutes(runtime: int | str) -> int:
    """Return the minutes of a runtime such as 60, "90m", "48h" or "2d"."""
    match = re.fullmatch(r"\s*(\d+)\s*([mhd]?)\w*\s*", str(runtime))
    if match is None:
        raise UserError(f"runtime is {runtime!r} in the profile; use minutes, 90m, 48h or 2d")
    return int(match[1]) * {"": 1, "m": 1, "h": 60, "d": 1440}[match[2]]


def read_profile(folder: Path) -> dict[str, Any]:
    """Return the values of a workflow profile.

    Raises:
        UserError: the folder has no profile, or it is not YAML.
    """
    files = sorted(folder.glob("profile*.yaml")) or sorted(folder.glob("config*.yaml"))
    if not files:
        raise UserError(f"{folder} contains no profile.v9+.yaml; name the folder of a profile")
    return read_yaml(files[-1])

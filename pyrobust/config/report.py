"""What `pyrobust report` and `pyrobust target` read: settings, and the index file of each stage."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pyrobust.config.base import Settings
from pyrobust.config.fields import Name
from pyrobust.config.targets import TargetSettings

JobsOf = Literal["sample", "label", "distances", "features"]


class GeneratedInputs(Settings):
    """Index files that an experiment without generated images does not have."""

    generator: Path
    samples: Path
    neighbours: Path
    quality: Path


class BaselineInputs(Settings):
    """The experiment that a report compares with."""

    name: Name
    experiment: dict[str, Any]
    choice: Path
    evaluations: tuple[Path, ...]


class ReportInputs(Settings):
    """An experiment, and the index file of each of its stages."""

    name: Name
    experiment: dict[str, Any]
    """Settings; generator, selection, labeller, evaluation and analysis are objects of a `name`
    and the settings of that section."""

    dataset: Path
    labeller: Path
    labeller_evaluation: Path
    runs: tuple[Path, ...]
    """`training.json` of each seed."""

    choice: Path
    evaluations: tuple[Path, ...]
    """Each in a folder `chosen`, or `seed<seed>` for each run evaluated on the test split."""

    landscape: Path
    generated: GeneratedInputs | None = None
    """None with mixing factor 1."""

    baseline: BaselineInputs | None = None

    jobs: dict[JobsOf, tuple[Path, ...]] = Field(default_factory=dict)
    """Stages of several jobs, with the folder of each job that the experiment uses."""


class TargetInputs(Settings):
    """A table or figure, and the points that it shows."""

    name: Name
    settings: TargetSettings
    points: tuple[dict[str, Any], ...]
    """The rows of the sweep, each with its experiment, the type of its generator, and files."""

"""What a report reads: the experiment's settings and the folders of its stages."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrobust.config import Settings, parse_settings
from pyrobust.config.analysis import AnalysisSettings
from pyrobust.config.data import SelectionSettings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.experiment import ExperimentSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.training import LabellerSettings
from pyrobust.errors import UserError
from pyrobust.files import read_json

SECTIONS: dict[str, type[Settings]] = {
    "generator": GeneratorSettings,
    "selection": SelectionSettings,
    "labeller": LabellerSettings,
    "evaluation": EvaluationSettings,
    "analysis": AnalysisSettings,
}


@dataclass(frozen=True)
class Experiment:
    """One entry of `experiments`, its sections resolved."""

    name: str
    settings: ExperimentSettings
    sections: dict[str, dict[str, Any]]

    @property
    def uses_generated(self) -> bool:
        """Whether any generated image meets the training."""
        return self.settings.mixing_factor < 1

    @property
    def evaluation(self) -> EvaluationSettings:
        """Settings of the attack."""
        return parse_settings(EvaluationSettings, self.sections["evaluation"])

    def as_json(self) -> dict[str, Any]:
        """Return the settings with those of each section in place of its name."""
        values = self.settings.model_dump(mode="json")
        named = {key: {"name": values[key], **section} for key, section in self.sections.items()}
        return {**values, **named}


def parse_experiment(name: str, text: str) -> Experiment:
    """Read an experiment from JSON.

    Args:
        name: its key in `experiments`.
        text: its settings; generator, selection, labeller, evaluation and analysis are objects
            of a `name` and the settings of that section.

    Raises:
        UserError: the text is not JSON, or a setting is invalid.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"the settings of experiment '{name}' are not JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"the settings of experiment '{name}' are {text}; expected a JSON object")
    names: dict[str, str] = {}
    sections: dict[str, dict[str, Any]] = {}
    for key, model in SECTIONS.items():
        section = values.get(key)
        if not isinstance(section, dict) or "name" not in section:
            raise UserError(
                f"{key} of experiment '{name}' is {json.dumps(section)}; expected an object "
                "with a name and the settings of the section"
            )
        given = {field: value for field, value in section.items() if field != "name"}
        names[key] = section["name"]
        sections[key] = parse_settings(model, given).model_dump(mode="json")
    return Experiment(name, parse_settings(ExperimentSettings, {**values, **names}), sections)


Json = dict[str, Any]


@dataclass(frozen=True)
class GeneratedFolders:
    """Stages that an experiment without generated images does not have."""

    generator: Path
    samples: Path
    neighbours: Path
    """The file `neighbours.json`."""
    quality: Path
    """The file `quality.json`."""


@dataclass(frozen=True)
class StageFolders:
    """Where the stages of one experiment lie."""

    dataset: Path
    labeller: Path
    labeller_evaluation: Path
    runs: tuple[Path, ...]
    choice: Path
    evaluations: tuple[Path, ...]
    """One folder `chosen`, or one folder `seed<seed>` for each run."""
    landscape: Path
    generated: GeneratedFolders | None = None
    baseline_choice: Path | None = None
    baseline_evaluations: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: its JSON, and the folder that holds the rows."""

    folder: Path
    summary: Json


@dataclass(frozen=True)
class Arm:
    """The runs of one experiment that were attacked on the test split."""

    chosen_seed: int
    evaluations: dict[int, Evaluation]
    """By seed; the chosen run is among them."""

    @property
    def chosen(self) -> Evaluation:
        """The evaluation of the run that validation chose."""
        return self.evaluations[self.chosen_seed]


@dataclass(frozen=True)
class Generated:
    """JSON of the stages that make and measure generated images."""

    generator: Json
    selection: Json
    """Provenance of the selected samples."""
    neighbours: Json
    quality: Json


@dataclass(frozen=True)
class Stages:
    """JSON of every stage that an experiment depends on."""

    folders: StageFolders
    dataset: Json
    labeller: Json
    labeller_evaluation: Evaluation
    runs: dict[int, Json]
    """`training.json` of each run, by seed."""
    tested: Arm
    landscape: Json
    generated: Generated | None
    baseline: Arm | None


def load_stages(folders: StageFolders) -> Stages:
    """Read the JSON of every stage.

    Raises:
        UserError: a file is missing, names the verb that writes it; or the chosen run was not
            evaluated.
    """
    runs = [read_json(run / "training.json", "pyrobust train") for run in folders.runs]
    baseline = None
    if folders.baseline_choice is not None:
        baseline = read_arm(folders.baseline_choice, folders.baseline_evaluations)
    return Stages(
        folders=folders,
        dataset=read_json(folders.dataset / "dataset.json", "pyrobust dataset"),
        labeller=read_json(folders.labeller / "labeller.json", "pyrobust train-labeller"),
        labeller_evaluation=read_evaluation(folders.labeller_evaluation),
        runs={run["settings"]["seed"]: run for run in runs},
        tested=read_arm(folders.choice, folders.evaluations),
        landscape=read_json(folders.landscape / "landscape.json", "pyrobust landscape"),
        generated=_generated(folders.generated) if folders.generated else None,
        baseline=baseline,
    )


def _generated(folders: GeneratedFolders) -> Generated:
    return Generated(
        generator=read_json(folders.generator / "generator.json", "pyrobust fit-generator"),
        selection=read_json(folders.samples / "manifest.json", "pyrobust select")["provenance"],
        neighbours=read_json(folders.neighbours, "pyrobust neighbours"),
        quality=read_json(folders.quality, "pyrobust quality"),
    )


def read_evaluation(folder: Path) -> Evaluation:
    """Read `evaluation.json` in a folder."""
    return Evaluation(folder, read_json(folder / "evaluation.json", "pyrobust evaluate"))


def read_arm(choice: Path, folders: tuple[Path, ...]) -> Arm:
    """Read the choice among the runs of an experiment, and the evaluations of those tested.

    Raises:
        UserError: a file is missing, or the chosen run was not evaluated.
    """
    chosen = int(read_json(choice / "choice.json", "pyrobust choose")["chosen_seed"])
    by_seed = {_seed_of(folder, chosen): read_evaluation(folder) for folder in folders}
    if chosen not in by_seed:
        raise UserError(
            f"the chosen run (seed {chosen}) has no evaluation in "
            f"{', '.join(map(str, folders))}; run 'pyrobust evaluate --model "
            f"{choice}/model.safetensors'"
        )
    return Arm(chosen, by_seed)


def _seed_of(folder: Path, chosen_seed: int) -> int:
    """Return the seed of the run whose evaluation lies in `folder`."""
    if folder.name == "chosen":
        return chosen_seed
    digits = folder.name.removeprefix("seed")
    if not digits.isdecimal():
        raise UserError(
            f"{folder} is named '{folder.name}'; expected 'chosen' or 'seed0', 'seed1', ..."
        )
    return int(digits)

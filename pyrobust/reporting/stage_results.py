"""What a report reads: the settings of an experiment and the JSON files of its stages."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrobust.config import parse_settings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.experiment import REPORTED_SECTIONS, ExperimentSettings, entry_model
from pyrobust.config.report import GeneratedInputs, ReportInputs
from pyrobust.errors import UserError
from pyrobust.evaluation.describe import interval_of_result
from pyrobust.files import described_by, read_json
from pyrobust.models.files import WEIGHTS

Json = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """One entry of `experiments`, with the settings of the sections that it names."""

    name: str
    settings: ExperimentSettings
    sections: dict[str, dict[str, Any]]

    @property
    def uses_generated(self) -> bool:
        """Whether training uses any generated image."""
        return self.settings.uses_generated

    @property
    def evaluation(self) -> EvaluationSettings:
        """Settings of the attack."""
        return parse_settings(EvaluationSettings, self.sections["evaluation"])

    def as_json(self) -> dict[str, Any]:
        """Return the settings with those of each section in place of its name."""
        values = self.settings.model_dump(mode="json")
        named = {key: {"name": values[key], **section} for key, section in self.sections.items()}
        return {**values, **named}


def parse_experiment(name: str, values: Mapping[str, Any]) -> Experiment:
    """Return the experiment `name` with checked settings.

    Args:
        values: its settings; generator, selection, labeller, evaluation and analysis are objects
            of a `name` and the settings of that section.

    Raises:
        UserError: a setting is missing or invalid.
    """
    names: dict[str, str] = {}
    sections: dict[str, Json] = {}
    for key in REPORTED_SECTIONS:
        section = values.get(key)
        if not isinstance(section, dict) or "name" not in section:
            raise UserError(
                f"{key} of experiment '{name}' is {json.dumps(section)}; expected an object "
                "with a name and the settings of the section"
            )
        given = {field: value for field, value in section.items() if field != "name"}
        names[key] = section["name"]
        sections[key] = parse_settings(entry_model(key), given).model_dump(mode="json")
    return Experiment(name, parse_settings(ExperimentSettings, {**values, **names}), sections)


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

    @property
    def is_trusted(self) -> bool | None:
        """Whether the attack passed its self-test on every run; None where it could not be tested.

        Evaluations of earlier versions have no self-test.
        """
        found = [run.summary.get("trusted", True) for run in self.evaluations.values()]
        return False if False in found else None if None in found else True


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

    inputs: ReportInputs
    dataset: Json
    labeller: Json
    labeller_evaluation: Evaluation
    runs: dict[int, Json]
    """`training.json` of each run, by seed."""
    tested: Arm
    landscape: Json
    generated: Generated | None
    baseline: Arm | None

    @property
    def run_folders(self) -> dict[int, Path]:
        """The folder of each run, by seed."""
        folders = (run.parent for run in self.inputs.runs)
        return dict(zip(self.runs, folders, strict=True))


def load_stages(inputs: ReportInputs) -> Stages:
    """Read the JSON of every stage.

    Raises:
        UserError: a file is missing, names the verb that writes it; or the chosen run was not
            evaluated.
    """
    runs = [read_json(run, "pyrobust train") for run in inputs.runs]
    seeds = []
    for path, run in zip(inputs.runs, runs, strict=True):
        with described_by(path, "pyrobust train"):
            seeds.append(int(run["settings"]["seed"]))
    if len(set(seeds)) < len(seeds):
        raise UserError(f"the runs have the seeds {seeds}; give the folder of each run once")
    baseline = None
    if inputs.baseline is not None:
        baseline = read_arm(inputs.baseline.choice, inputs.baseline.evaluations)
    return Stages(
        inputs=inputs,
        dataset=read_json(inputs.dataset, "pyrobust dataset"),
        labeller=read_json(inputs.labeller, "pyrobust train-labeller"),
        labeller_evaluation=read_evaluation(inputs.labeller_evaluation),
        runs=dict(zip(seeds, runs, strict=True)),
        tested=read_arm(inputs.choice, inputs.evaluations),
        landscape=read_json(inputs.landscape, "pyrobust landscape"),
        generated=_generated(inputs.generated) if inputs.generated else None,
        baseline=baseline,
    )


def _generated(inputs: GeneratedInputs) -> Generated:
    return Generated(
        generator=read_json(inputs.generator, "pyrobust fit-generator"),
        selection=read_json(inputs.samples, "pyrobust select")["provenance"],
        neighbours=read_json(inputs.neighbours, "pyrobust neighbours"),
        quality=read_json(inputs.quality, "pyrobust quality"),
    )


def read_evaluation(index: Path) -> Evaluation:
    """Read an `evaluation.json`, and check its accuracies."""
    made_by = "pyrobust evaluate"
    summary = read_json(index, made_by)
    with described_by(index, made_by):
        results = [summary, *summary["stages"], *summary["curve"]]
        accuracies = [result["robust_accuracy"] for result in results]
        for accuracy in (summary["clean_accuracy"], summary["worst"], *accuracies):
            interval_of_result(summary, accuracy)
    return Evaluation(index.parent, summary)


def read_arm(choice: Path, evaluations: Sequence[Path]) -> Arm:
    """Read the choice among the runs of an experiment, and the evaluations of those tested.

    Args:
        choice: the file choice.json.
        evaluations: the files evaluation.json, each in a folder `chosen` or `seed<seed>`.

    Raises:
        UserError: a file is missing, a run was evaluated twice, or the chosen run was not.
    """
    with described_by(choice, "pyrobust choose"):
        chosen = int(read_json(choice, "pyrobust choose")["chosen_seed"])
    by_seed: dict[int, Evaluation] = {}
    for index in evaluations:
        found, seed = read_evaluation(index), _seed_of(index.parent, chosen)
        if seed in by_seed:
            raise UserError(
                f"{by_seed[seed].folder} and {found.folder} are both of seed {seed}; give one "
                "evaluation of each run"
            )
        by_seed[seed] = found
    if chosen not in by_seed:
        raise UserError(
            f"the chosen run (seed {chosen}) has no evaluation in "
            f"{', '.join(str(index.parent) for index in evaluations)}; run 'pyrobust evaluate "
            f"--model {choice.with_name(WEIGHTS)}'"
        )
    return Arm(chosen, by_seed)


def _seed_of(folder: Path, chosen_seed: int) -> int:
    """Return the seed of the run whose evaluation is in `folder`."""
    if folder.name == "chosen":
        return chosen_seed
    digits = folder.name.removeprefix("seed")
    if not digits.isdecimal():
        raise UserError(
            f"{folder} is named '{folder.name}'; expected 'chosen' or 'seed0', 'seed1', ..."
        )
    return int(digits)

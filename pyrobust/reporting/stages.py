"""What a report reads: the folders of the stages and the JSON files in them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrobust.errors import UserError
from pyrobust.files import read_json

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
class Generated:
    """JSON of the stages that make and measure generated images."""

    generator: Json
    selection: Json
    """Provenance of the selected samples."""
    neighbours: Json
    quality: Json


@dataclass(frozen=True)
class Stages:
    """JSON of every stage that an experiment stands on."""

    folders: StageFolders
    dataset: Json
    labeller: Json
    labeller_evaluation: Evaluation
    runs: dict[int, Json]
    """`training.json` of each run, by seed."""
    chosen_seed: int
    evaluations: dict[int, Evaluation]
    """Of the runs that met the test split, by seed; the chosen run is among them."""
    landscape: Json
    generated: Generated | None
    baseline: Evaluation | None

    @property
    def chosen(self) -> Evaluation:
        """The evaluation of the chosen run."""
        return self.evaluations[self.chosen_seed]


def load_stages(folders: StageFolders) -> Stages:
    """Read the JSON of every stage.

    Raises:
        UserError: a file is missing, names the verb that writes it; or the chosen run was not
            evaluated.
    """
    runs = [read_json(run / "training.json", "pyrobust train") for run in folders.runs]
    chosen_seed, evaluations = read_evaluations(folders.choice, folders.evaluations)
    baseline = None
    if folders.baseline_choice is not None:
        seed, of_baseline = read_evaluations(folders.baseline_choice, folders.baseline_evaluations)
        baseline = of_baseline[seed]
    return Stages(
        folders=folders,
        dataset=read_json(folders.dataset / "dataset.json", "pyrobust dataset"),
        labeller=read_json(folders.labeller / "labeller.json", "pyrobust train-labeller"),
        labeller_evaluation=_evaluation(folders.labeller_evaluation),
        runs={run["settings"]["seed"]: run for run in runs},
        chosen_seed=chosen_seed,
        evaluations=evaluations,
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


def _evaluation(folder: Path) -> Evaluation:
    return Evaluation(folder, read_json(folder / "evaluation.json", "pyrobust evaluate"))


def read_evaluations(choice: Path, folders: tuple[Path, ...]) -> tuple[int, dict[int, Evaluation]]:
    """Return the chosen seed, and the evaluations by seed."""
    chosen = int(read_json(choice / "choice.json", "pyrobust choose")["chosen_seed"])
    by_seed = {_seed_of(folder, chosen): _evaluation(folder) for folder in folders}
    if chosen not in by_seed:
        raise UserError(
            f"the chosen run (seed {chosen}) has no evaluation among "
            f"{', '.join(map(str, folders))}: "
            f"'pyrobust evaluate --model {choice}/model.safetensors' writes it"
        )
    return chosen, by_seed


def _seed_of(folder: Path, chosen_seed: int) -> int:
    """Return the seed of the run whose evaluation lies in `folder`."""
    if folder.name == "chosen":
        return chosen_seed
    digits = folder.name.removeprefix("seed")
    if not digits.isdecimal():
        raise UserError(
            f"{folder} is named '{folder.name}', expected 'chosen' or 'seed0', 'seed1', ..."
        )
    return int(digits)

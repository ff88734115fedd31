"""Inputs and parameters of each rule, resolved from the experiments of the configuration."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pyrobust.config import parse_settings
from pyrobust.config.analysis import ANALYSIS_VERBS
from pyrobust.config.data import SelectionSettings
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.config.experiment import Config, ExperimentSettings, check_training, parse_config
from pyrobust.config.sweeps import Sweeps, resolve_targets
from pyrobust.errors import UserError
from pyrobust.workflow import paths
from pyrobust.workflow.flags import Inputs, flags, settings_flags
from pyrobust.workflow.own_code import own_files
from pyrobust.workflow.paths import fill
from pyrobust.workflow.raw_data import RawSource, check_raw, raw_digest
from pyrobust.workflow.shares import SHARES, share_files

Wildcards = Mapping[str, str]
Files = str | list[str]
Json = dict[str, Any]

# Replaces the pathvars of a path.
Expand = Callable[[str], str]


class RuleInputs:
    """Inputs and flags of the rules.

    Methods take the wildcards of a job, and return paths and flags as the rule uses them.

    Args:
        values: the merged configuration.
        sweeps: folder of the tables of points, each of which is an experiment, too.

    Raises:
        UserError: the configuration is wrong; one sentence names the key and its value.
    """

    def __init__(self, values: Mapping[str, Any], sweeps: Path) -> None:
        config = parse_config(values)
        self.tables = sweeps
        self.sweeps: Sweeps = resolve_targets(config.model_dump(mode="json"), sweeps)
        added = {
            name: parse_settings(ExperimentSettings, settings)
            for name, settings in self.sweeps.experiments.items()
        }
        self.config: Config = config.model_copy(
            update={"experiments": {**config.experiments, **added}}
        )

    @cached_property
    def augmentations(self) -> list[str]:
        """Names of augmentations that some experiment uses in place of a generator."""
        points = (point for of_target in self.sweeps.points.values() for point in of_target)
        return sorted({point["augmentation"] for point in points if point["augmentation"]})

    def experiment(self, wildcards: Wildcards) -> ExperimentSettings:
        """Return the experiment that the wildcards name."""
        return self.config.experiments[wildcards["experiment"]]

    def settings_of(self, section: str) -> Callable[[Wildcards], str]:
        """Return a function to the flags of the entry of `section` that the wildcards name."""
        wildcard = section.removesuffix("s")
        return lambda wildcards: settings_flags(getattr(self.config, section)[wildcards[wildcard]])

    def refuse_unknown(self, section: Literal["experiments", "targets"]) -> Callable[..., str]:
        """Return a function that refuses a name that the configuration lacks.

        Snakemake itself would say only that no rule produces the file.
        """

        def refuse(wildcards: Wildcards) -> str:
            name = wildcards["unknown"]
            table = self.tables / f"{name}.tsv"
            near = get_close_matches(name, getattr(self.config, section), cutoff=0.7)
            advice = f"add it under '{section}'" + (f", or use {' or '.join(near)}" * bool(near))
            if section == "targets" and table.is_file():
                advice = f"add it under 'targets', so that {table} becomes a table and a figure"
            raise UserError(
                f"the configuration has no {section.removesuffix('s')} '{name}': {advice}"
            )

        return refuse

    def of_experiment(self, path: str) -> Callable[[Wildcards], str]:
        """Return a function to `path` with the experiment's settings in place of its wildcards."""
        return lambda wildcards: fill(path, dict(self.experiment(wildcards)), wildcards)

    # --- data sets ------------------------------------------------------------------------------

    def raw_source(self, wildcards: Wildcards) -> RawSource:
        """Return where the raw files of a data set lie."""
        settings = self.config.datasets[wildcards["dataset"]]
        return RawSource(self.config.data_root, settings.path)

    def dataset_flags(self, wildcards: Wildcards) -> str:
        """Return how raw files are read, apart from where they lie."""
        settings = self.config.datasets[wildcards["dataset"]]
        return settings_flags(settings.model_copy(update={"path": None}))

    def check_raw(self, expand: Expand) -> Callable[[Wildcards], list[str]]:
        """Return a function that refuses a data set without raw files.

        Raw files are no inputs, since they may be deleted later; code that reads them is one.
        """

        def check(wildcards: Wildcards) -> list[str]:
            name = wildcards["dataset"]
            dataset = Path(expand(fill(paths.DATASET, wildcards)))
            settings = self.config.datasets[name]
            check_raw(name, settings, self.raw_source(wildcards), dataset)
            return own_files(settings.layout)

        return check

    def raw_digest(self, expand: Expand) -> Callable[[Wildcards], str]:
        """Return a function to the digest of a data set's raw files."""
        return lambda wildcards: raw_digest(
            wildcards["dataset"],
            self.raw_source(wildcards),
            Path(expand(fill(paths.DATASET, wildcards))),
        )

    # --- generated images -----------------------------------------------------------------------

    def generator_files(self, wildcards: Wildcards) -> list[str]:
        """Return samples, weights or code of a generator, and its FID features."""
        settings = self.config.generators[wildcards["generator"]]
        files = [path for path in (settings.path, settings.fid_features) if path]
        return [*files, *own_files(settings.type)]

    def parts_of(self, path: str) -> Callable[[Wildcards], list[str]]:
        """Return a function to one file for each part that a selection starts from."""
        return lambda wildcards: [
            fill(path, wildcards, part=part) for part in self.numbers_of_parts(wildcards)
        ]

    def numbers_of_parts(self, wildcards: Wildcards) -> range:
        """Return the numbers of the parts that a selection starts from."""
        selection = self.selection(wildcards)
        size = self.config.generators[wildcards["generator"]].part_size
        first = selection.first_part(size)
        return range(first, first + selection.num_parts(int(wildcards["num_samples"]), size))

    def selection(self, wildcards: Wildcards) -> SelectionSettings:
        """Return the selection that the wildcards name."""
        return self.config.selections[wildcards["selection"]]

    def part_size(self, wildcards: Wildcards) -> int:
        """Return the images of each part."""
        return self.config.generators[wildcards["generator"]].part_size

    def near_copy_inputs(self, wildcards: Wildcards) -> dict[str, Files]:
        """Return the distances to training images; none where a selection keeps near-copies."""
        if self.selection(wildcards).min_distance == 0:
            return {}
        return {
            "distances": self.parts_of(paths.DISTANCES)(wildcards),
            "dataset": fill(paths.DATASET, wildcards),
        }

    def parts_flags(self, wildcards: Wildcards, input: Inputs) -> str:
        """Return the folders of the numbered parts, labels and distances, and their number."""
        folders = {
            name: str(Path(input.get(name)[0]).parents[1])
            for name in ("parts", "labels", "distances")
            if input.get(name)
        }
        return flags(
            {**folders, "num_parts": len(input.get("parts")), "dataset": input.get("dataset")}
        )

    def features_of_parts(self, wildcards: Wildcards) -> list[str]:
        """Return the features that labelling kept for this analysis; none where it kept none."""
        kept_for = self.config.features_while_labelling.get(wildcards["generator"])
        if kept_for != wildcards["analysis"]:
            return []
        return self.parts_of(paths.FEATURES_OF_PART)(wildcards)

    def known_features_flag(self, wildcards: Wildcards, input: Inputs) -> str:
        """Return the folder of the parts' features, where there are any."""
        known = input.get("known")
        return flags({"known": str(Path(known[0]).parents[1])}) if known else ""

    def labelling_flags(self, wildcards: Wildcards, output: Any) -> str:
        """Return where and how the features go that samples get while they are labelled."""
        name = self.config.features_while_labelling[wildcards["generator"]]
        return f"{flags({'features': output.features})} {self._analysis_flags('label', name)}"

    # --- analysis -------------------------------------------------------------------------------

    def extractor_files(self, wildcards: Wildcards) -> list[str]:
        """Return the weights of the extractor of an analysis, if they are files."""
        name = wildcards.get("analysis")
        if name is None:
            name = self.config.features_while_labelling[wildcards["generator"]]
        settings = self.config.analyses[name]
        return [path for path in (settings.weights, settings.linear_weights) if path]

    def analysis_flags(self, verb: str) -> Callable[[Wildcards], str]:
        """Return a function to the flags of one verb of an analysis: those that it reads."""
        return lambda wildcards: self._analysis_flags(verb, wildcards["analysis"])

    def _analysis_flags(self, verb: str, name: str) -> str:
        model = ANALYSIS_VERBS[verb]
        values = self.config.analyses[name].model_dump(include=set(model.model_fields))
        return settings_flags(parse_settings(model, values))

    def searched_images(self, wildcards: Wildcards) -> int:
        """Return how many generated images at most a search looks up."""
        settings = self.config.analyses[wildcards["analysis"]]
        most = settings.num_images if settings.whole_sets else settings.num_samples
        return min(most, int(wildcards["num_samples"]))

    # --- training and evaluation ----------------------------------------------------------------

    def training_inputs(self, wildcards: Wildcards) -> dict[str, Files]:
        """Return the original images and, where used, the generated ones and own code."""
        inputs: dict[str, Files] = {"dataset": self.of_experiment(paths.DATASET)(wildcards)}
        if self.experiment(wildcards).uses_generated:
            inputs["samples"] = self.of_experiment(paths.SELECTED)(wildcards)
        training = check_training(self.experiment(wildcards))
        if code := own_files(training.architecture, training.objective):
            inputs["code"] = code
        return inputs

    def training_flags(self, wildcards: Wildcards) -> str:
        """Return the settings of one training run, apart from its seed."""
        return settings_flags(check_training(self.experiment(wildcards)))

    def runs(self, wildcards: Wildcards) -> list[str]:
        """Return the training of every seed."""
        name, seeds = wildcards["experiment"], self.experiment(wildcards).seeds
        return [fill(paths.TRAINING, experiment=name, run=f"seed{seed}") for seed in seeds]

    def model_of_run(self, wildcards: Wildcards) -> str:
        """Return the index of a trained model: of the choice, or of one seed's training."""
        run = wildcards.get("run", "chosen")
        return fill(paths.CHOICE if run == "chosen" else paths.TRAINING, wildcards)

    def threat_flags(self, wildcards: Wildcards) -> str:
        """Return the perturbation set of an experiment."""
        experiment = self.experiment(wildcards)
        return _threat_flags(experiment.norm, experiment.epsilon)

    def threat_of_path(self, wildcards: Wildcards) -> str:
        """Return the perturbation set that a path names."""
        return _threat_flags(wildcards["norm"], paths.read_radius(wildcards["radius"]))

    def evaluation_flags(self, wildcards: Wildcards) -> str:
        """Return the attack settings that the path names, or else those of the experiment."""
        name = wildcards.get("evaluation") or self.experiment(wildcards).evaluation
        return settings_flags(self.config.evaluations[name])

    def evaluated_runs(self, name: str, test_runs: str = "chosen") -> list[str]:
        """Return the runs of an experiment that meet the test split.

        Args:
            test_runs: all if somebody else asks for all runs, whatever the experiment says.
        """
        experiment = self.config.experiments[name]
        if "all" in (experiment.test_runs, test_runs):
            return [f"seed{seed}" for seed in experiment.seeds]
        return ["chosen"]

    # --- shares -------------------------------------------------------------------------------

    def attack_shares(self, result: str, expand: Expand) -> Callable[[Wildcards], list[str]]:
        """Return a function to one file for each job of an evaluation with the index `result`."""
        return self._shares(result, expand, lambda wildcards: self.config.evaluation_jobs)

    def search_shares(self, expand: Expand) -> Callable[[Wildcards], list[str]]:
        """Return a function to one file for each job of a search of whole sets."""

        def jobs(wildcards: Wildcards) -> int:
            whole_sets = self.config.analyses[wildcards["analysis"]].whole_sets
            return self.config.search_jobs if whole_sets else 1

        return self._shares(paths.NEIGHBOURS, expand, jobs)

    def _shares(
        self, result: str, expand: Expand, jobs: Callable[[Wildcards], int]
    ) -> Callable[[Wildcards], list[str]]:
        """Return a function to one file for each job; there are none where one job does it all."""

        def files(wildcards: Wildcards) -> list[str]:
            index = fill(result, wildcards)
            folder = f"{index.rpartition('/')[0]}/{SHARES}"
            names = share_files(Path(expand(index)), jobs(wildcards))
            return [f"{folder}/{name}" for name in names]

        return files


def _threat_flags(norm: str, epsilon: str) -> str:
    return settings_flags(parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon}))

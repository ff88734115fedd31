"""Reports of experiments: the files that the rule of a report reads."""

from pathlib import Path

from pyrobust.config.experiment import REPORTED_SECTIONS, SECTIONS, ExperimentSettings
from pyrobust.config.report import BaselineInputs, GeneratedInputs, JobsOf, ReportInputs
from pyrobust.errors import UserError
from pyrobust.workflow import paths
from pyrobust.workflow.paths import fill
from pyrobust.workflow.rule_inputs import Expand, Files, Json, RuleInputs, Wildcards


class Reports:
    """Inputs of the rule that writes the record and the page of an experiment."""

    def __init__(self, rules: RuleInputs) -> None:
        self._rules = rules
        self._config = rules.config

    def inputs(self, wildcards: Wildcards) -> dict[str, Files]:
        """Return every file that the record and the page depend on, by its role."""
        inputs = self._report_of(wildcards["experiment"], str)
        files: dict[str, Files] = {
            key: str(value) if isinstance(value, Path) else list(map(str, value))
            for part in (inputs, inputs.generated)
            if part
            for key, value in dict(part).items()
            if isinstance(value, Path) or key in ("runs", "evaluations")
        }
        if inputs.baseline:
            files["baseline_choice"] = str(inputs.baseline.choice)
            files["baseline_evaluations"] = list(map(str, inputs.baseline.evaluations))
        return files

    def describe(self, wildcards: Wildcards, expand: Expand) -> Json:
        """Return what `pyrobust report` reads of an experiment.

        Args:
            expand: replaces the pathvars of a path.
        """
        described = self._report_of(wildcards["experiment"], expand)
        return described.model_dump(mode="json", exclude_none=True)

    def _report_of(self, name: str, expand: Expand) -> ReportInputs:
        experiment = self._config.experiments[name]
        own = dict(experiment) | {"experiment": name}

        def at(path: str, **more: object) -> Path:
            return Path(expand(fill(path, own, more)))

        generated: GeneratedInputs | None = None
        jobs: dict[JobsOf, tuple[Path, ...]] = {}
        if experiment.uses_generated:
            generated = GeneratedInputs(
                generator=at(paths.GENERATOR),
                samples=at(paths.SELECTED),
                neighbours=at(paths.NEIGHBOURS),
                quality=at(paths.QUALITY),
            )
            parts = self._rules.numbers_of_parts(own)
            of_parts: dict[JobsOf, str] = {"sample": paths.PART, "label": paths.LABELS}
            if self._rules.selection(own).min_distance > 0:
                of_parts["distances"] = paths.DISTANCES
            for stage, path in of_parts.items():
                jobs[stage] = tuple(at(path, part=part).parent for part in parts)
            original = (at(paths.ORIGINAL_FEATURES, split=split) for split in ("train", "test"))
            jobs["features"] = tuple(file.parent for file in (*original, at(paths.FEATURES)))
        radius = paths.spell_radius(experiment.epsilon)
        return ReportInputs(
            name=name,
            experiment=self._with_sections(experiment),
            dataset=at(paths.DATASET),
            labeller=at(paths.LABELLER),
            labeller_evaluation=at(paths.LABELLER_EVALUATION, radius=radius),
            runs=tuple(Path(expand(run)) for run in self._rules.runs({"experiment": name})),
            choice=at(paths.CHOICE),
            evaluations=self._evaluations(name, expand),
            landscape=at(paths.LANDSCAPE),
            generated=generated,
            baseline=self._baseline(experiment, expand),
            jobs=jobs,
        )

    def _baseline(self, experiment: ExperimentSettings, expand: Expand) -> BaselineInputs | None:
        name = experiment.baseline
        if name is None:
            return None
        return BaselineInputs(
            name=name,
            experiment=self._with_sections(self._config.experiments[name]),
            choice=Path(expand(fill(paths.CHOICE, experiment=name))),
            evaluations=self._evaluations(name, expand),
        )

    def _evaluations(self, name: str, expand: Expand) -> tuple[Path, ...]:
        return tuple(
            Path(expand(fill(paths.EVALUATION, experiment=name, run=run)))
            for run in self._rules.evaluated_runs(name)
        )

    def _with_sections(self, experiment: ExperimentSettings) -> Json:
        """Return an experiment's settings with those of the sections that it names."""
        named = {}
        for key in REPORTED_SECTIONS:
            name = getattr(experiment, key)
            settings = getattr(self._config, SECTIONS[key]).get(name)
            if settings is None:  # only points of sweeps use a mixture as their generator
                raise UserError(
                    f"an experiment whose {key} is the mixture '{name}' has no record; "
                    "ask for the table or figure of its sweep"
                )
            named[key] = {"name": name, **settings.model_dump(mode="json")}
        return {**experiment.model_dump(mode="json"), **named}

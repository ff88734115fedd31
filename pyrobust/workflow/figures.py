"""Tables and figures over many experiments: what rules read for the points of their sweeps."""

from typing import Any

from pyrobust.config.report import TargetInputs
from pyrobust.errors import UserError
from pyrobust.workflow import paths
from pyrobust.workflow.flags import flags
from pyrobust.workflow.paths import fill
from pyrobust.workflow.rule_inputs import Expand, Files, Json, RuleInputs, Wildcards

Point = dict[str, Any]


class Figures:
    """Inputs and flags of the rules that only tables and figures need."""

    def __init__(self, rules: RuleInputs) -> None:
        self._rules = rules
        self._config = rules.config

    def mixture_inputs(self, wildcards: Wildcards) -> dict[str, Files]:
        """Return the selected samples of both generators of a mixture."""
        mixture = self._config.mixtures[wildcards["generator"]]
        selection = mixture.second_selection or wildcards["selection"]
        return {
            "first": fill(paths.SELECTED, wildcards, generator=mixture.first),
            "second": fill(
                paths.SELECTED, wildcards, generator=mixture.second, selection=selection
            ),
        }

    def mixture_flags(self, wildcards: Wildcards) -> str:
        """Return how the samples of a mixture are mixed."""
        mixture = self._config.mixtures[wildcards["generator"]]
        return flags({"share": mixture.share, "classes": mixture.classes})

    def inputs(self, wildcards: Wildcards) -> dict[str, Files]:
        """Return every file that a target depends on; names end with the number of the point.

        Raises:
            UserError: the sweep of the target is wrong.
        """
        return {
            f"{role}_{number}": files
            for number, point in enumerate(self._points(wildcards["target"]))
            for role, files in self._files(wildcards["target"], point).items()
        }

    def describe(self, wildcards: Wildcards, expand: Expand) -> Json:
        """Return what `pyrobust target` reads of a table or figure.

        Args:
            expand: replaces the pathvars of a path.
        """
        name = wildcards["target"]
        points = [
            {
                **point,
                "kind": self._kind(point["settings"]["generator"]),
                "files": {
                    role: expand(files) if isinstance(files, str) else list(map(expand, files))
                    for role, files in self._files(name, point).items()
                },
            }
            for point in self._points(name)
        ]
        described = TargetInputs(
            name=name, settings=self._config.targets[name], points=tuple(points)
        )
        return described.model_dump(mode="json")

    def _points(self, target: str) -> list[Point]:
        sweeps = self._rules.sweeps
        if target in sweeps.refused:
            raise UserError(f"results/paper/{target}: {sweeps.refused[target]}")
        return sweeps.points[target]

    def _files(self, name: str, point: Point) -> dict[str, Files]:
        """Return the files that a target reads for one point of its sweep, by their role."""
        target = self._config.targets[name]
        own = {**point["settings"], "experiment": point["experiment"]}
        if point["augmentation"]:
            own["generator"] = point["augmentation"]
        match target.show:
            case "samples":
                return {"samples": fill(paths.SELECTED, own)}
            case "landscapes":
                return {"landscape": fill(paths.LANDSCAPE, own)}
            case "overfitting":
                return {"training": self._rules.runs(own)}
        trained: dict[str, Files] = {
            "choice": fill(paths.CHOICE, own),
            "labeller": fill(paths.LABELLER, own),
            "dataset": fill(paths.DATASET, own),
            "evaluation": self._evaluations(point),
        }
        measurable = point["augmentation"] or point["settings"]["mixing_factor"] < 1
        if target.show != "neighbours" or not measurable:
            return trained
        measured: dict[str, Files] = {
            "neighbours": fill(paths.NEIGHBOURS, own, analysis=point["analysis"]),
            "quality": fill(paths.QUALITY, own, analysis=point["quality_analysis"]),
        }
        return measured | (trained if target.trained and not point["augmentation"] else {})

    def _evaluations(self, point: Point) -> list[str]:
        """Return the evaluations that a point shows: of the chosen run, or of each seed."""
        name, evaluation = point["experiment"], point["evaluation"]
        own = {"experiment": name, "evaluation": evaluation}
        if point["tested_on"]:
            path = paths.EVALUATION_ON_SAMPLES
            own |= {
                "generator": point["tested_on"],
                "selection": point["test_selection"],
                "num_samples": point["test_samples"],
            }
        elif evaluation == self._config.experiments[name].evaluation:
            path = paths.EVALUATION
        else:
            path = paths.EVALUATION_AGAIN
        runs = self._rules.evaluated_runs(name, point["settings"]["test_runs"])
        return [fill(path, point["settings"], own, run=run) for run in runs]

    def _kind(self, generator: str) -> str:
        """Return a generator's type; of imported samples and mixtures the name."""
        settings = self._config.generators.get(generator)
        return generator if settings is None or settings.type == "imported" else settings.type

"""The experiment that a report is about, with the settings of the sections that it names."""

import json
from dataclasses import dataclass
from typing import Any

from pyrobust.config import Settings, parse_settings
from pyrobust.config.analysis import AnalysisSettings
from pyrobust.config.data import SelectionSettings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.experiment import ExperimentSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.training import LabellerSettings
from pyrobust.errors import UserError

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
        UserError: the text is no JSON, or a setting is wrong.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"the settings of experiment '{name}' are not JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"the settings of experiment '{name}' are {text}, expected a JSON object")
    names: dict[str, str] = {}
    sections: dict[str, dict[str, Any]] = {}
    for key, model in SECTIONS.items():
        section = values.get(key)
        if not isinstance(section, dict) or "name" not in section:
            raise UserError(
                f"{key} of experiment '{name}' is {json.dumps(section)}, expected an object "
                f'such as {{"name": "...", ...}} with the settings of the section'
            )
        given = {field: value for field, value in section.items() if field != "name"}
        names[key] = section["name"]
        sections[key] = parse_settings(model, given).model_dump(mode="json")
    return Experiment(name, parse_settings(ExperimentSettings, {**values, **names}), sections)


def differences(first: Experiment, second: Experiment) -> list[str]:
    """Return the names of the settings in which two experiments differ.

    Settings that change no model do not count, nor does where generated images would come from
    if one of the two uses none.
    """
    no_matter = {"seeds", "test_runs", "baseline", "analysis"}
    if not (first.uses_generated and second.uses_generated):
        no_matter |= {"generator", "num_samples", "selection", "labeller"}
    one, other = first.as_json(), second.as_json()
    return sorted(key for key in one if key not in no_matter and one[key] != other[key])

"""Write the JSON Schema of `config/config.yaml` from the settings models.

python -m pyrobust.config.schema > workflow/schemas/config.schema.json
"""

import json
from typing import Any

from pyrobust.config.experiment import Config, own_training_keys
from pyrobust.config.training import TrainSettings


def config_schema() -> dict[str, Any]:
    """Return the schema of the whole configuration, references resolved and defaults stated."""
    schema = _resolved(Config.model_json_schema(), {})
    experiment = schema["properties"]["experiments"]["additionalProperties"]
    experiment["properties"]["training"] = _training_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Written by `python -m pyrobust.config.schema`; edit pyrobust/config/ instead.",
        **schema,
    }


def _training_schema() -> dict[str, Any]:
    """Return the schema of `training`: no defaults, since the recipe fills in what is absent."""
    schema = _resolved(TrainSettings.model_json_schema(), {})
    properties = {
        key: {word: value for word, value in field.items() if word != "default"}
        for key, field in schema["properties"].items()
        if key in own_training_keys()
    }
    return {
        "description": "Training settings that differ from the recipe.",
        "type": "object",
        "additionalProperties": False,
        "default": {},
        "properties": properties,
    }


def _resolved(node: Any, definitions: dict[str, Any]) -> Any:
    """Return `node` with every local $ref replaced by what it points at, and no titles."""
    if isinstance(node, list):
        return [_resolved(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    definitions = node.get("$defs", definitions)
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _resolved({**target, **{k: v for k, v in node.items() if k != "$ref"}}, definitions)
    node = {
        key: _resolved(value, definitions)
        for key, value in node.items()
        if key != "$defs" and not (key == "title" and isinstance(value, str))
    }
    return _named_entries(node) if "patternProperties" in node else node


def _named_entries(node: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a section of named entries so that a bad name is refused, too."""
    ((pattern, entry),) = node.pop("patternProperties").items()
    return {**node, "propertyNames": {"pattern": pattern}, "additionalProperties": entry}


def schema_text() -> str:
    """Return the schema file's text."""
    return json.dumps(config_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")

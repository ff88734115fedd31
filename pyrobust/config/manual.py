"""Writes config/README.md, the manual of every key, from the settings models.

python -m pyrobust.config.manual > config/README.md
"""

from typing import get_args

from pydantic.fields import FieldInfo

from pyrobust.config.base import Settings
from pyrobust.config.experiment import Config, ExperimentSettings, own_training_keys
from pyrobust.config.training import TrainSettings

INTRODUCTION = """\
# Every key of `config.yaml`

Written by `python -m pyrobust.config.manual`; edit `pyrobust/config/` instead.

The sections `datasets`, `labellers`, `generators`, `selections`, `evaluations` and `analyses`
name settings; an entry of `experiments` picks one of each by its name. The same words are the
command-line options of the verbs (`_` becomes `-`). Nothing here says where or on what a job
runs: that is for `profiles/`. A changed value makes anew what depends on it, and nothing else.

A new data set needs one line, such as `flowers: {image_size: 32}` under `datasets`, its files
under `resources/raw/flowers/`, and an experiment that names it. YAML's `<<: *name` starts an
experiment from another one.
"""


def manual() -> str:
    """Return the text of config/README.md."""
    parts = [INTRODUCTION]
    for name, field in Config.model_fields.items():
        entry = _entry_model(field)
        if entry is None:
            parts.append(f"## {name}\n\n{_sentence(field)} Default: `{field.default}`.\n")
        elif entry is not ExperimentSettings:
            parts.append(f"## {name}\n\n{entry.__doc__}\n\n{_table(entry)}")
    parts.append(f"## experiments\n\n{ExperimentSettings.__doc__}\n\n{_table(ExperimentSettings)}")
    parts.append(
        "### experiments.*.training\n\nThe defaults are those of the recipe `gowal21`.\n\n"
        + _table(TrainSettings, own_training_keys())
    )
    return "\n".join(parts)


def _entry_model(field: FieldInfo) -> type[Settings] | None:
    """Return the model of a section's entries, or None where the key is a plain value."""
    for member in get_args(field.annotation):
        if isinstance(member, type) and issubclass(member, Settings):
            return member
    return None


def _table(model: type[Settings], keys: tuple[str, ...] | None = None) -> str:
    rows = ["| key | default | meaning |", "| --- | --- | --- |"]
    for name, field in model.model_fields.items():
        if keys is None or name in keys:
            rows.append(f"| `{name}` | {_default(field)} | {_sentence(field)} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if value in (None, ()) else f"`{value}`"


def _sentence(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


if __name__ == "__main__":
    print(manual(), end="")

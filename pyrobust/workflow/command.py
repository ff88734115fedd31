"""The commands of jobs and pages: which `python` runs, and which options lead to a page again."""

import json
import os
import shlex
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any


def put_first_on_path(folder: Path, environment: MutableMapping[str, str]) -> None:
    """Let commands be found in `folder` before anywhere else."""
    known = environment.get("PATH", os.defpath).split(os.pathsep)
    environment["PATH"] = os.pathsep.join(dict.fromkeys([str(folder), *known]))


def options_of_run(home: Path, configfiles: Iterable[Path], config: Mapping[str, Any]) -> str:
    """Return the options of this run as they are typed in `home`, the folder of the Snakefile.

    Args:
        configfiles: those of --configfile.
        config: values of --config.
    """

    def from_home(path: Path) -> str:
        path = path.resolve()
        inside = path.is_relative_to(home.resolve())
        return str(path.relative_to(home.resolve()) if inside else path)

    words = []
    if from_home(Path()) != ".":
        words += ["--directory", from_home(Path())]
    files = [from_home(Path(file)) for file in configfiles]
    if files:
        words += ["--configfile", *files]
    if config:
        words += ["--config", *(f"{key}={_as_typed(value)}" for key, value in config.items())]
    return shlex.join(words)


def _as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)

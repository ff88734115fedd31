"""The conda environment, the lock file and the package ask for the same versions."""

import re
import tomllib

import yaml

from tests.workflow.running import ROOT


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines: list[str]) -> dict[str, str]:
    return {canonical(name): version for name, version in (line.split("==") for line in lines)}


def locked() -> dict[str, str]:
    text = (ROOT / "requirements.lock").read_text()
    return pins([line for line in text.splitlines() if line and not line.startswith("#")])


def conda() -> dict[str, str]:
    environment = yaml.safe_load((ROOT / "envs/pyrobust.yaml").read_text())
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    return pins(pip)


def test_conda_pins_what_the_lock_file_pins() -> None:
    lock = locked()
    assert {name: lock[name] for name in conda()} == conda()


def test_conda_brings_every_dependency_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {canonical(re.split(r"[=<>; ]", line)[0]) for line in project["dependencies"]}
    assert wanted <= set(conda())

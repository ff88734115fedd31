"""The core is built where it is older than its sources, and nowhere else."""

import os
from pathlib import Path

import pytest

from pyrobust.workflow.core_build import is_current, main


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a source tree whose core is newer than its sources."""
    for number, name in enumerate(("setup.py", "csrc/cpu/steps.cpp", "pyrobust/_C.abi.so")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("print('building'); open('built', 'w')")
        os.utime(tmp_path / name, (100 + number, 100 + number))
    return tmp_path


def test_a_core_that_is_newer_than_its_sources_is_kept(tree: Path) -> None:
    assert is_current(tree) and main(tree) == 0
    assert not (tree / "built").exists()


@pytest.mark.parametrize("change", ["setup.py", "csrc/cpu/steps.cpp", "csrc/new.h"])
def test_a_changed_source_builds_it(tree: Path, change: str) -> None:
    (tree / change).write_text("open('built', 'w')")
    assert main(tree) == 0
    assert (tree / "built").exists()


def test_a_missing_core_is_built(tree: Path) -> None:
    (tree / "pyrobust/_C.abi.so").unlink()
    assert main(tree) == 0
    assert (tree / "built").exists()


def test_a_failed_build_is_an_error(tree: Path) -> None:
    (tree / "setup.py").write_text("raise SystemExit(3)")
    assert main(tree) == 3


def test_an_installed_package_has_its_core(tmp_path: Path) -> None:
    assert is_current(tmp_path)

"""The commit that a page names."""

import subprocess
from pathlib import Path

import pytest

from pyrobust.cost import commit_of


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a package in a repository with one commit."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").touch()
    (tmp_path / "Snakefile").touch()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    git(tmp_path, *author, "commit", "-q", "-m", "Begin")
    return tmp_path / "package"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_clean_checkout_is_its_commit(package: Path) -> None:
    (package.parent / "untracked").touch()
    assert commit_of(package) == git(package, "rev-parse", "HEAD").strip()


def test_changes_of_the_workflow_are_reported(package: Path) -> None:
    (package.parent / "Snakefile").write_text("rule all:")
    assert commit_of(package) == git(package, "rev-parse", "HEAD").strip() + ", with changes"


def test_a_package_that_the_repository_does_not_track_has_none(package: Path) -> None:
    (package.parent / "installed").mkdir()
    (package.parent / "installed/__init__.py").touch()
    assert commit_of(package.parent / "installed") is None


def test_there_is_no_commit_outside_a_repository(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    assert commit_of(tmp_path) is None

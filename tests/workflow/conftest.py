"""Fixtures of the workflow tests."""

from pathlib import Path

import pytest

from tests.workflow.running import Project, copy_project, snakemake


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a fresh copy of the project."""
    return copy_project(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy in which the tiny experiment has run; tests must not change it."""
    project = copy_project(tmp_path_factory.mktemp("finished"))
    run = snakemake(project, "--notemp")
    assert run.returncode == 0, run.stdout[-6000:]
    return project

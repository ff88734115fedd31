"""Fixtures of the workflow tests."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.workflow.running import (
    ROOT,
    TABLE_FILES,
    TABLES_CONFIG,
    Project,
    copy_project,
    snakemake,
)


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


@pytest.fixture(scope="session")
def with_tables(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the finished project with tables over it; tests must not change it."""
    project = tmp_path_factory.mktemp("with_tables") / "project"
    shutil.copytree(finished, project)
    for sweep in (ROOT / "tests/workflow/sweeps").glob("*.tsv"):
        shutil.copy(sweep, project / "config/sweeps")
    run = snakemake(project, "--notemp", targets=TABLE_FILES, overlays=(TABLES_CONFIG,))
    assert run.returncode == 0, run.stdout[-6000:]
    return project


@pytest.fixture
def conda(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which `conda` is the stand-in."""
    prefix = tmp_path / "conda"
    (prefix / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "tests/workflow/stand_in_conda.sh", prefix / "bin/conda")
    (prefix / "bin/conda").chmod(0o755)
    activate = prefix / "bin/activate"
    activate.write_text('export PATH="$1/bin:$PATH"; export CONDA_PREFIX="$1"\n')
    return {
        **os.environ,
        "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "STAND_IN_CONDA": str(prefix),
        "STAND_IN_PYTHON": str(Path(sys.executable).parent),
    }

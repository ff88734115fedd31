import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, NoSlurmError, find_programs, slurm
from tests.slurm.running import DATASET, copy_with_gate
from tests.workflow.running import Project, snakemake


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        find_programs()
        with slurm(tmp_path_factory.mktemp("slurm")) as running:
            yield running
    except NoSlurmError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the project in which the data set is made; tests must not change it."""
    project = copy_with_gate(tmp_path_factory.mktemp("prepared"))
    run = snakemake(project, targets=(DATASET,))
    assert run.returncode == 0, run.stdout[-6000:]
    return project


@pytest.fixture
def project(prepared: Project, tmp_path: Path) -> Project:
    """Return a copy of the project in which a training without generated images can start."""
    return shutil.copytree(prepared, tmp_path / "project")

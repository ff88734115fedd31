"""Fixtures of the tests of the documentation."""

from pathlib import Path

import pytest

from tests.workflow.running import Project, copy_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a fresh copy of the project."""
    return copy_project(tmp_path)

"""Stage outputs and a report made of them."""

from pathlib import Path
from typing import Any

import pytest

from pyrobust.config.report import ReportInputs
from tests.reporting.fixtures import make_stages
from tests.reporting.target_points import point_maker


@pytest.fixture
def inputs(tmp_path: Path) -> ReportInputs:
    """Return a fresh tree of stage outputs, to be spoiled at will."""
    return make_stages(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """Return a tree of stage outputs that tests must not change."""
    return make_stages(tmp_path_factory.mktemp("stages"))


@pytest.fixture
def make_point(tmp_path: Path) -> Any:
    """Return a function that writes the files of a point of a target and returns its JSON."""
    return point_maker(tmp_path)

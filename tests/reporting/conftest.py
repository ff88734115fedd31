"""Stage outputs and a report made of them."""

from pathlib import Path

import pytest

from pyrobust.config.report import ReportInputs
from tests.reporting.fixtures import make_stages


@pytest.fixture
def inputs(tmp_path: Path) -> ReportInputs:
    """Return a fresh tree of stage outputs, to be spoiled at will."""
    return make_stages(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """Return a tree of stage outputs that tests must not change."""
    return make_stages(tmp_path_factory.mktemp("stages"))

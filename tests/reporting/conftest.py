"""Stage outputs and a report made of them."""

from pathlib import Path

import pytest

from pyrobust.reporting.stage_results import StageFolders
from tests.reporting.fixtures import make_stages


@pytest.fixture
def folders(tmp_path: Path) -> StageFolders:
    """Return a fresh tree of stage outputs, to be spoiled at will."""
    return make_stages(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StageFolders:
    """Return a tree of stage outputs that tests must not change."""
    return make_stages(tmp_path_factory.mktemp("stages"))

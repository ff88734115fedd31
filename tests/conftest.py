"""Markers and paths that all tests share."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from pyrobust.ops import choose_device

# Real CIFAR-10 as Parquet, outside the project; tests that want it are skipped without it.
TEST_DATA = Path(os.environ.get("PYROBUST_TEST_DATA", "../shared/data"))

# Property tests draw the same examples each time, so that a red run can be repeated; `make fuzz`
# draws new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip GPU tests where there is no GPU that the core can use, and say so."""
    if choose_device().type == "cuda":
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Give each test, and each fixture that it is the first to ask for, the same random weights."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def cifar10_parquet() -> Path:
    """Folder of CIFAR-10's Parquet files."""
    folder = TEST_DATA / "cifar10"
    if not folder.is_dir():
        pytest.skip(f"needs real CIFAR-10 under {folder}; set PYROBUST_TEST_DATA")
    return folder

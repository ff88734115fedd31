"""`make install` remembers how it was asked to install, until it is asked otherwise."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("remembered", "options", "installs", "uninstalls", "core"),
    [
        ("1", [], False, False, "PYROBUST_CUDA=1 python setup.py"),
        ("1", ["CUDA=1"], False, False, "PYROBUST_CUDA=1 python setup.py"),
        ("1", ["CUDA=0"], True, True, "PYROBUST_CUDA=0 python setup.py"),
        ("1", ["CUDA="], True, False, "\npython setup.py"),
        ("0", [], False, False, "PYROBUST_CUDA=0 python setup.py"),
        ("0", ["CUDA=1"], True, False, "PYROBUST_CUDA=1 python setup.py"),
        ("", [], False, False, "\npython setup.py"),
        ("", ["CUDA=0"], True, True, "PYROBUST_CUDA=0 python setup.py"),
    ],
)
def test_another_choice_installs_again(
    remembered: str,
    options: list[str],
    installs: bool,
    uninstalls: bool,
    core: str,
    tmp_path: Path,
) -> None:
    (tmp_path / ".installed").write_text(f"{remembered}\n")
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    planned = subprocess.run(
        ["make", "--dry-run", "install", f"VENV={tmp_path}", *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert ("pip install" in planned) == installs, planned
    assert ("pip uninstall --quiet --yes triton nvidia-cuda-nvcc" in planned) == uninstalls, planned
    assert ('grep -vE "^(triton|nvidia-cuda-nvcc|' in planned) == uninstalls, planned
    assert core in f"\n{planned}", planned

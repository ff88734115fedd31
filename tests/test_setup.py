"""The build takes a CUDA compiler that fits torch: the environment's first, then the system's."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
MAJOR = (torch.version.cuda or "13.0").split(".")[0]


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the names of setup.py, which are not yet told about any compiler."""
    for name in ("CUDA_HOME", "PYROBUST_CUDA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.version, "cuda", f"{MAJOR}.0")
    return runpy.run_path(str(ROOT / "setup.py"))


def toolkit(folder: Path, version: str) -> Path:
    """Write a folder whose nvcc has this version."""
    (folder / "bin").mkdir(parents=True)
    nvcc = folder / "bin/nvcc"
    nvcc.write_text(
        f'#!/bin/sh\necho "Cuda compilation tools, release {version}, V{version}.88"\n'
        f'echo "#$ TOP={folder}" >&2\n'
    )
    nvcc.chmod(0o755)
    return folder


def test_the_environment_goes_before_the_system(
    build: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, system = tmp_path / "site/nvidia", tmp_path / "system"
    (site / "__init__.py").parent.mkdir(parents=True)
    (site / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(site.parent))
    monkeypatch.setenv("PATH", f"{toolkit(system, f'{MAJOR}.1')}/bin", prepend=":")
    assert build["find_toolkit"]() == (system, "")
    ours = toolkit(site / f"cu{MAJOR}", f"{MAJOR}.0")
    assert build["find_toolkit"]() == (ours, "")
    monkeypatch.setenv("CUDA_HOME", str(toolkit(tmp_path / "named", f"{MAJOR}.2")))
    assert build["find_toolkit"]() == (tmp_path / "named", "")


def test_a_compiler_of_another_cuda_is_named_with_one_that_fits(
    build: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(toolkit(tmp_path / "old", "9.2")))
    assert build["choose_toolkit"]() is None
    said = capsys.readouterr().err
    assert (
        f"without its CUDA half: nvcc in {tmp_path}/old is 9.2; torch {torch.__version__}" in said
    )
    assert f"pip install 'nvidia-cuda-nvcc=={MAJOR}.0.*' 'nvidia-nvvm=={MAJOR}.0.*'" in said
    monkeypatch.setenv("PYROBUST_CUDA", "1")
    with pytest.raises(SystemExit, match=r"PYROBUST_CUDA is 1, but nvcc in .* is 9\.2"):
        build["choose_toolkit"]()
    monkeypatch.setenv("PYROBUST_CUDA", "0")
    assert build["choose_toolkit"]() is None


def test_a_compiler_that_does_not_work_is_explained(build: dict[str, Any], tmp_path: Path) -> None:
    nvcc = toolkit(tmp_path, f"{MAJOR}.0") / "bin/nvcc"
    assert build["compiler_fault"](tmp_path) is None
    nvcc.write_text("#!/bin/sh\necho note\necho 'ptxas fatal : Unsupported .version' >&2\nexit 1\n")
    assert build["compiler_fault"](tmp_path) == "ptxas fatal : Unsupported .version"


def test_bad_wishes_are_named(
    build: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYROBUST_CUDA", "yes")
    with pytest.raises(SystemExit, match="PYROBUST_CUDA is 'yes', expected 0 or 1"):
        build["choose_toolkit"]()
    monkeypatch.setenv("PYROBUST_CUDA", "1")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    with pytest.raises(SystemExit, match=f"no nvcc that runs in {tmp_path}/bin"):
        build["choose_toolkit"]()
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(SystemExit, match=r"PYROBUST_CUDA is 1, but torch .* has no CUDA"):
        build["choose_toolkit"]()

"""Builds pyrobust._C: the compiled core, with its CUDA half where a toolkit is found."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

from setuptools import Extension, setup


def cuda_toolkit() -> str | None:
    """Return the folder of the CUDA toolkit, as CUDA_HOME or nvcc itself says; None: there is none.

    PyTorch takes the folder above nvcc's, which is wrong where nvcc is reached by a link.
    """
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if os.environ.get("CUDA_HOME") or not Path(nvcc).exists():
        return os.environ.get("CUDA_HOME") or None
    plan = subprocess.run(
        [nvcc, "--dryrun", "-c", "-x", "cu", os.devnull], capture_output=True, text=True
    ).stderr
    folder = re.search(r"^#\$ TOP=(.+)$", plan, re.MULTILINE)
    return str(Path(folder[1]).resolve()) if folder else None


CUDA_HOME = cuda_toolkit()
os.environ["CUDA_HOME"] = CUDA_HOME or ""
# PyTorch looks for the toolkit when this module is imported.
from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension  # noqa: E402

CSRC = Path("csrc")

# Contraction of a * b + c is off on both compilers: equal inputs give equal bits on every device
# and instruction set. The other flags change no value; they let loops vectorise.
CXX_FLAGS = ["-O3", "-fopenmp", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
SANITIZE_FLAGS = ["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
NVCC_FLAGS = ["-O3", "--fmad=false", "-Xcompiler=-fopenmp"]
CUDA_ARCHITECTURES = "8.0;9.0+PTX"


def wants_cuda() -> bool:
    """PYROBUST_CUDA=0/1 decides; else CUDA is built where nvcc is found."""
    return os.environ.get("PYROBUST_CUDA", "1" if CUDA_HOME else "0") == "1"


def core_extension() -> Extension:
    # tests/ops/sanitize.sh runs the operator tests on a build with PYROBUST_SANITIZE=1.
    extra = SANITIZE_FLAGS if os.environ.get("PYROBUST_SANITIZE") == "1" else []
    sources = [CSRC / "module.cpp", *sorted((CSRC / "cpu").glob("*.cpp"))]
    depends = [*CSRC.rglob("*.h"), *CSRC.rglob("*.cuh")]
    options = {
        "depends": [str(path) for path in depends],
        "extra_compile_args": {"cxx": [*CXX_FLAGS, *extra], "nvcc": NVCC_FLAGS},
        "extra_link_args": ["-fopenmp", *extra],
    }
    if not wants_cuda():
        return CppExtension("pyrobust._C", [str(path) for path in sources], **options)
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", CUDA_ARCHITECTURES)
    sources += sorted((CSRC / "cuda").glob("*.cu"))
    macros = [("PYROBUST_WITH_CUDA", None)]
    return CUDAExtension(
        "pyrobust._C", [str(path) for path in sources], define_macros=macros, **options
    )


class BuildCore(BuildExtension):
    """One build at a time in this folder, and none that trusts what a killed one left behind."""

    def run(self) -> None:
        unfinished = Path("build/unfinished")
        unfinished.parent.mkdir(exist_ok=True)
        with unfinished.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # ends with its process
            # A half-written library is newer than its sources. Objects are ninja's concern.
            self.force = self.force or unfinished.exists()
            unfinished.touch()
            super().run()
            unfinished.unlink()


# PYROBUST_CORE=0 installs the Python half alone; `build_ext --inplace` then builds the core,
# and builds again only what changed.
with_core = os.environ.get("PYROBUST_CORE", "1") == "1"
setup(
    ext_modules=[core_extension()] if with_core else [],
    cmdclass={"build_ext": BuildCore},
)

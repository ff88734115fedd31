"""Builds pyrobust._C: the compiled core, with its CUDA half where a toolkit is found."""

import os
from pathlib import Path

from setuptools import Extension, setup
from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension

CSRC = Path("csrc")

# Contraction of a * b + c is off on both compilers: equal inputs give equal bits on every device
# and instruction set. The other flags change no value; they let loops vectorise.
CXX_FLAGS = ["-O3", "-fopenmp", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
NVCC_FLAGS = ["-O3", "--fmad=false", "-Xcompiler=-fopenmp"]
CUDA_ARCHITECTURES = "8.0;9.0+PTX"


def wants_cuda() -> bool:
    """PYROBUST_CUDA=0/1 decides; else CUDA is built where nvcc is found."""
    return os.environ.get("PYROBUST_CUDA", "1" if CUDA_HOME else "0") == "1"


def core_extension() -> Extension:
    sources = [CSRC / "module.cpp", *sorted((CSRC / "cpu").glob("*.cpp"))]
    depends = [*CSRC.rglob("*.h"), *CSRC.rglob("*.cuh")]
    options = {
        "depends": [str(path) for path in depends],
        "extra_compile_args": {"cxx": CXX_FLAGS, "nvcc": NVCC_FLAGS},
        "extra_link_args": ["-fopenmp"],
    }
    if not wants_cuda():
        return CppExtension("pyrobust._C", [str(path) for path in sources], **options)
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", CUDA_ARCHITECTURES)
    sources += sorted((CSRC / "cuda").glob("*.cu"))
    macros = [("PYROBUST_WITH_CUDA", None)]
    return CUDAExtension(
        "pyrobust._C", [str(path) for path in sources], define_macros=macros, **options
    )


# PYROBUST_CORE=0 installs the Python half alone; `build_ext --inplace` then builds the core,
# and builds again only what changed.
with_core = os.environ.get("PYROBUST_CORE", "1") == "1"
setup(
    ext_modules=[core_extension()] if with_core else [],
    cmdclass={"build_ext": BuildExtension},
)

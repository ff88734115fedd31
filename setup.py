"""Build pyrobust._C, the compiled core, with its CUDA half where a fitting compiler is found."""

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

CSRC = Path("csrc")
BUILD = Path("build")
MARK = BUILD / "built_for.h"

# PyTorch's headers need C++20 since 2.11. Contraction of a * b + c is off in both compilers: equal
# inputs give equal bits on every device and instruction set. The other flags change no value; they
# let loops vectorise.
CXX_FLAGS = [
    "-std=c++20",
    "-O3",
    "-fopenmp",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
]
SANITIZE_FLAGS = ["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
NVCC_FLAGS = ["-std=c++20", "-O3", "--fmad=false", "-Xcompiler=-fopenmp"]
# Files of the workflow outside the package.
DEPLOYED = ("Snakefile", "config", "envs", "profiles", "workflow")
# Turing, Ampere and Ada, Hopper, and later GPUs by PTX.
CUDA_ARCHITECTURES = "7.5;8.0;9.0+PTX"


class Refusal(SystemExit):
    """One sentence about a build that was asked for and is impossible."""


def nvcc_version(toolkit: Path) -> str | None:
    """Return the version of a folder's nvcc such as "13.0"; None: there is none that runs."""
    try:
        command = [toolkit / "bin/nvcc", "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    release = re.search(r"release (\d+\.\d+)", said)
    return release[1] if release else None


def environment_toolkit(major: str) -> Path | None:
    """Return the toolkit that the nvidia-* packages of this environment make up."""
    nvidia = importlib.util.find_spec("nvidia")
    for folder in nvidia.submodule_search_locations or [] if nvidia else []:
        toolkit = Path(folder) / f"cu{major}"
        if (toolkit / "bin/nvcc").exists():
            return toolkit
    return None


def system_toolkit() -> Path | None:
    """Return the toolkit of the system, as nvcc itself says.

    PyTorch takes the folder above nvcc's, which is wrong where nvcc is reached by a link.
    """
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not Path(nvcc).exists():
        return None
    plan = subprocess.run(
        [nvcc, "--dryrun", "-c", "-x", "cu", os.devnull], capture_output=True, text=True
    ).stderr
    folder = re.search(r"^#\$ TOP=(.+)$", plan, re.MULTILINE)
    return Path(folder[1]).resolve() if folder else None


def find_toolkit() -> tuple[Path | None, str]:
    """Return a CUDA toolkit that fits torch, or None and the reason.

    CUDA_HOME goes first, then this environment's packages, then the system. Compiler and torch
    must share the major version of CUDA.
    """
    if torch.version.cuda is None:
        return None, f"torch {torch.__version__} has no CUDA"
    major = torch.version.cuda.split(".")[0]
    named = os.environ.get("CUDA_HOME")
    toolkit = Path(named) if named else environment_toolkit(major) or system_toolkit()
    wanted = wanted_compiler()
    if toolkit is None:
        return None, f"no CUDA compiler found; {wanted}"
    found = nvcc_version(toolkit)
    if found is None:
        return None, f"no nvcc that runs in {toolkit}/bin; {wanted}"
    if found.split(".")[0] != major:
        return None, f"nvcc in {toolkit} is {found}; {wanted}"
    return toolkit, ""


def wanted_compiler() -> str:
    """Return which compiler torch needs and how to install it; its parts must have one version."""
    cuda = torch.version.cuda
    parts = ("nvidia-cuda-nvcc", "nvidia-nvvm", "nvidia-cuda-crt", "nvidia-cuda-cccl")
    packages = " ".join(f"'{part}=={cuda}.*'" for part in parts)
    return f"torch {torch.__version__} needs nvcc {cuda}: run pip install {packages}"


def compiler_fault(toolkit: Path) -> str | None:
    """Return what nvcc says about an empty kernel; None: it compiles one."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.cu"
        source.write_text("__global__ void empty() {}\n")
        command = [toolkit / "bin/nvcc", "-std=c++20", "-c", source, "-o", source.with_suffix(".o")]
        run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode == 0:
        return None
    lines = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line or "fatal" in line]
    return (telling or lines or ["it says nothing"])[0].strip()


def choose_toolkit() -> Path | None:
    """Return the toolkit for the CUDA half; None: the core is built without one.

    PYROBUST_CUDA=1 insists on the CUDA half, and 0 leaves it out.
    """
    wanted = os.environ.get("PYROBUST_CUDA", "")
    if wanted not in ("", "0", "1"):
        raise Refusal(f"PYROBUST_CUDA is '{wanted}', expected 0 or 1")
    if wanted == "0":
        return None
    toolkit, reason = find_toolkit()
    if toolkit is None and wanted == "1":
        raise Refusal(f"PYROBUST_CUDA is 1, but {reason}")
    if toolkit is None:
        print(f"building the core without its CUDA half: {reason}", file=sys.stderr)
    return toolkit


def runtime_folder(toolkit: Path) -> Path:
    """Return a folder to link with: packages bring libcudart.so.13, and no libcudart.so."""
    folder = BUILD / "cuda"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "libcudart.so"
    link.unlink(missing_ok=True)
    for library in sorted(toolkit.glob("lib*/libcudart.so*")):
        link.symlink_to(library.resolve())
        break
    return folder


def core_extension(toolkit: Path | None) -> Extension:
    os.environ["CUDA_HOME"] = str(toolkit or "")
    # Looks for the toolkit when it is imported.
    from torch.utils import cpp_extension

    # tests/ops/sanitize.sh runs the operator tests on a build with PYROBUST_SANITIZE=1.
    extra = SANITIZE_FLAGS if os.environ.get("PYROBUST_SANITIZE") == "1" else []
    sources = [CSRC / "module.cpp", *sorted((CSRC / "cpu").glob("*.cpp"))]
    depends = [*CSRC.rglob("*.h"), *CSRC.rglob("*.cuh")]
    code = "none"
    if toolkit is not None:
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", CUDA_ARCHITECTURES)
        sources += sorted((CSRC / "cuda").glob("*.cu"))
        flags = cpp_extension._get_cuda_arch_flags()
        code = " ".join(re.findall(r",code=(\w+)", " ".join(flags)))
    options = {
        "depends": [str(path) for path in [*depends, write_mark(code), "setup.py"]],
        "include_dirs": [str(BUILD.resolve())],
        "extra_compile_args": {"cxx": [*CXX_FLAGS, *extra], "nvcc": NVCC_FLAGS},
        "extra_link_args": ["-fopenmp", *extra],
    }
    files = [str(path) for path in sources]
    if toolkit is None:
        return cpp_extension.CppExtension("pyrobust._C", files, **options)
    options["library_dirs"] = [str(runtime_folder(toolkit))]
    return cpp_extension.CUDAExtension("pyrobust._C", files, **options)


def write_mark(code: str) -> Path:
    """Write a header with what the core fits, which pyrobust/ops/core.py reads from the library.

    Args:
        code: code of the CUDA half, such as "sm_80 sm_90 compute_90"; "none": there is no such
            half.
    """
    cuda = torch.version.cuda if code != "none" else None
    version = torch.__version__.split("+")[0]
    mark = f"pyrobust core for torch {version}, CUDA {cuda}, code {code};"
    text = f'#define PYROBUST_BUILT_FOR "{mark}"\n'
    BUILD.mkdir(exist_ok=True)
    if not MARK.exists() or MARK.read_text() != text:
        MARK.write_text(text)
    return MARK


class BuildPackage(build_py):
    """Put the workflow into the package, where `pyrobust demo` finds it without a clone."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "pyrobust/deployed"
        shutil.rmtree(target, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".snakemake")
        for name in DEPLOYED:
            if Path(name).is_dir():
                shutil.copytree(name, target / name, ignore=ignored)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(name, target / name)


def main() -> None:
    # PYROBUST_CORE=0 installs the Python half alone; `build_ext --inplace` then builds the core,
    # and builds again only what changed.
    if os.environ.get("PYROBUST_CORE", "1") != "1":
        setup(cmdclass={"build_py": BuildPackage})
        return
    toolkit = choose_toolkit()
    extension = core_extension(toolkit)
    mark = MARK.read_text().split('"')[1]
    from torch.utils.cpp_extension import BuildExtension

    class BuildCore(BuildExtension):
        """One build at a time in this folder, and none that trusts what a killed one left."""

        def run(self) -> None:
            unfinished = BUILD / "unfinished"
            BUILD.mkdir(exist_ok=True)
            with unfinished.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # ends with its process
                # A half-written library is newer than its sources, as is one for another torch.
                # Objects are ninja's concern.
                self.force = self.force or unfinished.exists() or not self.fits()
                unfinished.touch()
                try:
                    super().run()
                except Exception as error:
                    fault = compiler_fault(toolkit) if toolkit else None
                    if fault is None:
                        raise
                    raise Refusal(
                        f"the CUDA compiler in {toolkit} does not work ({fault}); "
                        f"{wanted_compiler()}, or build without it: PYROBUST_CUDA=0"
                    ) from error
                unfinished.unlink()

        def fits(self) -> bool:
            built = Path(self.get_ext_fullpath(extension.name))
            return built.exists() and mark.encode() in built.read_bytes()

    commands = {"build_ext": BuildCore, "build_py": BuildPackage}
    setup(ext_modules=[extension], cmdclass=commands)


if __name__ == "__main__":
    main()

"""Load the compiled core, which registers the operators as `torch.ops.pyrobust`."""

import importlib.machinery
import mmap
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch  # before _C, which needs torch's libraries loaded

from pyrobust.errors import UserError

_PACKAGE = Path(__file__).parents[1]
_MARK = re.compile(rb"pyrobust core for torch ([\w.]+), CUDA ([\w.]+), code ([\w ]+);")


class CoreError(UserError, ImportError):
    """The compiled core is missing or does not fit this Python, torch or GPU."""


@dataclass(frozen=True)
class Core:
    """What the compiled core was built for; `setup.py` writes it into the library."""

    torch: str
    """Version of torch, without the local part."""
    cuda: str | None
    """Version of CUDA; None: the core has no CUDA half."""
    code: tuple[str, ...] = ()
    """Code of the CUDA half: sm_90 for GPUs of this generation, compute_90 for all later ones."""

    def runs_on(self, major: int, minor: int) -> bool:
        """Return whether the CUDA half has code for a GPU of this compute capability."""
        return any(_fits(code, major, minor) for code in self.code)


def _fits(code: str, major: int, minor: int) -> bool:
    kind, version, variant = re.fullmatch(r"(sm|compute)_(\d+)([a-z]?)", code).groups()  # type: ignore[union-attr]
    built = int(version[:-1]), int(version[-1])
    if variant == "a":  # for this very GPU
        return built == (major, minor)
    if kind == "sm" or variant == "f":
        return built[0] == major and built[1] <= minor
    return built <= (major, minor)


def read_core(library: Path) -> Core | None:
    """Return what a library was built for, without loading it; None: it does not say."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(b"pyrobust core for torch ")
        mark = _MARK.match(data, start) if start >= 0 else None
        if mark is None:
            return None
        version, cuda, code = (part.decode() for part in mark.groups())
    return Core(version, *((None,) if cuda == "None" else (cuda, tuple(code.split()))))


def _refuse(what: str) -> NoReturn:
    here = (_PACKAGE.parent / "setup.py").exists()
    command = (
        f"'python setup.py build_ext --inplace' in {_PACKAGE.parent}"
        if here
        else "'pip install --force-reinstall --no-deps pyrobust'"
    )
    raise CoreError(f"{what}: run {command}")


def find_core(package: Path) -> Path:
    """Return the library in `package` that this Python can load.

    Raises:
        CoreError: there is none.
    """
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if (package / f"_C{suffix}").exists():
            return package / f"_C{suffix}"
    others = ", ".join(sorted(path.name for path in package.glob("_C.*.so")))
    if others:
        python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        _refuse(f"the compiled core in {package} is not for {python} ({others})")
    _refuse(f"the compiled core of pyrobust is missing in {package}")


def check_core(library: Path) -> Core:
    """Return what a library was built for.

    Raises:
        CoreError: it was built for another torch or CUDA, and would fail or crash when loaded.
    """
    built = read_core(library)
    if built is None:
        _refuse(f"the compiled core {library.name} is older than this version of pyrobust")
    version = torch.__version__.split("+")[0]
    if built.torch != version:
        _refuse(f"the compiled core was built for torch {built.torch}, but this is torch {version}")
    if built.cuda and built.cuda.split(".")[0] != (torch.version.cuda or "").split(".")[0]:
        uses = f"uses CUDA {torch.version.cuda}" if torch.version.cuda else "has no CUDA"
        _refuse(f"the compiled core was built for CUDA {built.cuda}, but torch {version} {uses}")
    return built


def _load() -> Core:
    built = check_core(find_core(_PACKAGE))
    try:
        import pyrobust._C  # noqa: F401
    except ImportError as error:
        _refuse(f"the compiled core of pyrobust cannot be loaded ({error})")
    return built


CORE: Core = _load()
"""What the loaded core was built for."""

core = torch.ops.pyrobust


def layout_of(x: torch.Tensor) -> torch.memory_format:
    """Return the layout that operators give their outputs: that of `x`, as csrc/ops/layout.h."""
    channels_last = (
        x.dim() == 4
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=torch.channels_last)
    )
    return torch.channels_last if channels_last else torch.contiguous_format


def empty_as(x: torch.Tensor) -> torch.Tensor:
    """Return what an operator allocates for an output like `x` (for fake kernels)."""
    return torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=layout_of(x))

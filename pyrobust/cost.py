"""The cost of a stage: `cost.json`, separate from its result so that results stay comparable."""

import platform
import resource
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pyrobust.files import write_json

_PACKAGES = ("pyrobust", "torch", "numpy", "faiss-cpu")


def write_cost(
    path: Path, seconds: float, device: str, images_per_second: float | None = None
) -> None:
    """Write `cost.json`.

    Args:
        seconds: working time; that of trainings and attacks includes all resumed runs, that of
            stages that resume after their last shard only the last run.
        device: cpu or cuda, as torch names it.
    """
    cost = {
        "seconds": round(seconds, 3),
        "peak_memory_mb": round(peak_memory_mb(device)),
        "device": device_name(device),
        "versions": versions(),
    }
    commit = commit_of(Path(__file__).parent)
    if commit is not None:
        cost["commit"] = commit
    if images_per_second is not None:
        cost["images_per_second"] = round(images_per_second, 2)
    write_json(path, cost)


def commit_of(folder: Path) -> str | None:
    """Return the commit that a package was checked out from; None if it is in no repository.

    The commit is followed by "with changes" if tracked files have changed since.

    Args:
        folder: has an `__init__.py`.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed package can lie inside of another project's repository.
        git("ls-files", "--error-unmatch", "__init__.py")
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}, with changes" if changed else commit


def peak_memory_mb(device: str) -> float:
    """Return the most memory this process held: on the GPU, or resident on the host."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    # Elsewhere than on Linux, where this begins with the peak of the process that started this one.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def device_name(device: str) -> str:
    """Return the name of the GPU, or the processor and the threads in use."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

"""Disks that are full, small or read-only, for one test: tmpfs in a mount namespace of its own."""

import subprocess
from pathlib import Path

import pytest

_NAMESPACE = ["unshare", "--map-root-user", "--mount"]


def run_with_disk(
    folder: Path, disk: str, mount_options: str, script: str
) -> subprocess.CompletedProcess[str]:
    """Run lines of shell in `folder` with a disk of its own at `disk`, gone afterwards.

    Works for root and, where the kernel has user namespaces, for everyone; else the test is
    skipped.
    """
    if subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a user make a mount namespace")
    mount = f"mount -t tmpfs -o {mount_options} tmpfs {disk}"
    return subprocess.run(
        [*_NAMESPACE, "sh", "-c", f"{mount} || exit 99\n{script}"],
        cwd=folder, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip

"""Jobs of an earlier snakemake that Slurm still has."""

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_ACTIVE = "PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING"

# How Snakemake's plugin starts the comment of a job.
_COMMENTS = ("rule_", "group_")


def jobs_in_queue(folder: Path) -> list[tuple[str, str]]:
    """Return number and rule of the jobs in Slurm's queue that snakemake sent from `folder`."""
    if shutil.which("squeue") is None:
        return []
    command = ["squeue", "--me", "--noheader", f"--states={_ACTIVE}", "--format=%i|%Z|%k"]
    listed = ""
    with suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True
        ).stdout
    jobs = []
    for line in listed.splitlines():
        number, workdir, comment = line.split("|", 2)
        if comment.startswith(_COMMENTS) and Path(workdir).resolve() == folder.resolve():
            jobs.append((number, comment.split("_wildcards_")[0].split("_", 1)[1]))
    return jobs


def refusal(jobs: Sequence[tuple[str, str]]) -> str:
    """Return what to do about jobs that still run."""
    some = ", ".join(f"{number} ({rule})" for number, rule in jobs[:5])
    more = f" and {len(jobs) - 5} more" if len(jobs) > 5 else ""
    numbers = " ".join(number for number, _ in jobs)
    return (
        f"jobs of an earlier snakemake in this folder are still in the queue: {some}{more}. Wait "
        f"until they have ended, or cancel them: scancel {numbers}"
    )

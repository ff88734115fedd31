"""A run of snakemake: its Python and options, jobs that an earlier run left, and its failure."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# States of jobs that have not ended.
_ACTIVE = "PENDING,CONFIGURING,RUNNING,SUSPENDED,COMPLETING"

# How Snakemake's plugin starts the comment of a job.
_COMMENTS = ("rule_", "group_")

# With less free space the disk fills up soon: a checkpoint of the paper's network takes 150 MB.
_FULL_BYTES = 200 * 2**20


def put_first_on_path(folder: Path, environment: MutableMapping[str, str]) -> None:
    """Make the shell search `folder` for commands before all others."""
    known = environment.get("PATH", os.defpath).split(os.pathsep)
    environment["PATH"] = os.pathsep.join(dict.fromkeys([str(folder), *known]))


def options_of_run(home: Path, configfiles: Iterable[Path], config: Mapping[str, Any]) -> str:
    """Return the options of this run, as typed in `home`, the folder of the Snakefile.

    Args:
        configfiles: the files after --configfile.
        config: the values after --config.
    """

    def from_home(path: Path) -> str:
        path = path.resolve()
        inside = path.is_relative_to(home.resolve())
        return str(path.relative_to(home.resolve()) if inside else path)

    words = []
    if from_home(Path()) != ".":
        words += ["--directory", from_home(Path())]
    files = [from_home(Path(file)) for file in configfiles]
    if files:
        words += ["--configfile", *files]
    if config:
        words += ["--config", *(f"{key}={_as_typed(value)}" for key, value in config.items())]
    return shlex.join(words)


def _as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def jobs_in_queue(folder: Path) -> list[tuple[str, str]]:
    """Return number and rule of the queued Slurm jobs that snakemake submitted from `folder`."""
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
    """Return why a run cannot start while `jobs` are in the queue, and what to do."""
    some = ", ".join(f"{number} ({rule})" for number, rule in jobs[:5])
    more = f" and {len(jobs) - 5} more" if len(jobs) > 5 else ""
    numbers = " ".join(number for number, _ in jobs)
    return (
        f"jobs of an earlier snakemake in this folder are still in the queue: {some}{more}. Wait "
        f"until they have ended, or cancel them: scancel {numbers}"
    )


def advice(free_bytes: int) -> str:
    """Return what to do after a failed run, whichever job failed.

    Args:
        free_bytes: free space on the disk of the results.
    """
    full = (
        f"Only {free_bytes / 2**20:.0f} MiB of disk space are free; make room first. "
        if free_bytes < _FULL_BYTES
        else ""
    )
    return (
        f"pyrobust: a job failed. {full}"
        "Its log, named above, ends with the reason and what to do. Then run the same command "
        "again: it resumes, and finished stages are kept. A log that ends without a reason means "
        "that the job was killed, usually for lack of memory: run fewer jobs at a time (--cores, "
        "or --resources mem_mb=MEGABYTES), or raise the rule's mem_mb on a cluster."
    )

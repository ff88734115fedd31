"""The jobs that share the images of a stage, as the rules ask for them.

The number of jobs changes no result, so another `evaluation_jobs` or `search_jobs` must not repeat
a stage. Snakemake would, because the set of inputs changes. A result that exists therefore keeps
the inputs that it had: their number is noted in the folder of the shares.
"""

from pathlib import Path

from pyrobust.files import write_json

_NOTE = "jobs.json"

# Folder of the shares, next to the index of their stage.
SHARES = "shares"


def share_files(result: Path, jobs: int) -> list[str]:
    """Return the names of one file for each job; none where one job does it all.

    Args:
        result: index of the stage.
        jobs: number of jobs of a stage whose result does not exist yet.
    """
    count = _noted_jobs(result) or jobs
    return [f"{number}-{count}.done" for number in range(1, count + 1)] if count > 1 else []


def note_jobs(folder: Path, num_shares: int) -> None:
    """Note in the folder of the shares how many there are."""
    write_json(folder / _NOTE, max(1, num_shares))


def _noted_jobs(result: Path) -> int | None:
    """Return the number of jobs that shared an existing result, if it is noted."""
    if not result.exists():
        return None
    try:
        return int((result.parent / SHARES / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

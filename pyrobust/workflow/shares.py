"""The jobs that share the images of an evaluation, as the rules ask for them.

The number of jobs changes no result, so another `evaluation_jobs` must not repeat an evaluation.
Snakemake would, because the set of inputs changes. An evaluation that exists therefore keeps the
inputs that it had: their number is noted in the folder of the shares.
"""

from pathlib import Path

from pyrobust.files import write_json
from pyrobust.workflow import paths

_NOTE = "jobs.json"
_RESULT = Path(paths.EVALUATION).name


def share_files(folder: Path, jobs: int) -> list[str]:
    """Return the names in `folder` of one file for each job; none where one job does it all.

    Args:
        folder: of the shares, inside that of the evaluation.
        jobs: number of jobs of an evaluation that does not exist yet.
    """
    count = _noted_jobs(folder) or jobs
    return [f"{number}-{count}.done" for number in range(1, count + 1)] if count > 1 else []


def note_jobs(folder: Path, num_shares: int) -> None:
    """Note in the folder of the shares how many there are."""
    write_json(folder / _NOTE, max(1, num_shares))


def _noted_jobs(folder: Path) -> int | None:
    """Return the number of jobs that an existing evaluation was shared by, if it is noted."""
    if not (folder.parent / _RESULT).exists():
        return None
    try:
        return int((folder / _NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

"""Runs snakemake in copies of the project, apart from the developer's results."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = "tests/workflow/tiny.yaml"
RECORD = "results/tiny.json"

# Tables over the tiny experiment; their sweeps: tests/workflow/sweeps/.
TABLES_CONFIG = "tests/workflow/targets.yaml"
TABLES = ("tiny_stages", "tiny_curve", "tiny_neighbours")
TABLE_FILES = (*(f"results/paper/{table}.csv" for table in TABLES), "results/report.html")

Project = Path


def copy_project(target: Path) -> Project:
    """Copy all that git knows or would know, and the compiled core, marked as built."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    core = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("pyrobust/_C*.so")]
    for name in [*filter(None, listed), *core]:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    (target / "resources").mkdir()
    (target / "resources/core.built").write_text("copied for a test\n")
    return target


def snakemake(
    project: Project,
    *options: str,
    overlays: tuple[Path | str, ...] = (),
    targets: tuple[str, ...] = (RECORD,),
) -> subprocess.CompletedProcess[str]:
    """Run snakemake for the tiny experiment's record; its output is in stdout.

    Args:
        overlays: configuration files laid over that of the tiny experiment.
        targets: files to make instead.
    """
    return subprocess.run(
        ["snakemake", *targets, "--cores", "2", *options, "--configfile", TINY, *overlays],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900,
        check=False,
    )  # fmt: skip


def job_counts(output: str) -> dict[str, int]:
    """Return the table `rule → jobs` of a dry run."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.M)}

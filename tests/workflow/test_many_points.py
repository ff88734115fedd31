"""A table of many points is made, whatever one command line can hold."""

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workflow.running import TINY, Project

pytestmark = pytest.mark.slow

# Linux bounds one argument of a command.
LONGEST_ARGUMENT = 131_072
NUM_POINTS = 300


def test_a_table_has_more_points_than_a_command_line_can_hold(
    finished: Project, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project)
    rows = "".join(f"point {number}\ttiny\n" for number in range(NUM_POINTS))
    (project / "config/sweeps/many.tsv").write_text(f"name\texperiment\n{rows}")
    overlay = tmp_path / "many.yaml"
    overlay.write_text("targets: {many: {title: Many points, show: accuracies}}")
    run = subprocess.run(
        ["snakemake", "results/paper/many.csv", "--cores", "2", "--configfile", TINY, str(overlay)],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-6000:]
    assert (project / "results/paper/many.inputs.json").stat().st_size > LONGEST_ARGUMENT
    with (project / "results/paper/many.csv").open() as table:
        assert [row["name"] for row in csv.DictReader(table)] == [
            f"point {number}" for number in range(NUM_POINTS)
        ]

"""The source distribution has all that a build of the core and the workflow need."""

import os
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.workflow.running import ROOT, copy_project

BUILD = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"


def test_it_has_the_sources_of_the_core_and_the_workflow(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")  # without git, which would add every file
    subprocess.run(
        [sys.executable, "-c", BUILD, tmp_path / "dist"],
        cwd=project, env={**os.environ, "PYROBUST_CORE": "0"}, check=True, capture_output=True,
    )  # fmt: skip
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    deployed = runpy.run_path(str(ROOT / "setup.py"))["DEPLOYED"]
    for name in ("csrc", "docs", "pyrobust", *deployed, "setup.py", "Makefile"):
        place = project / name
        wanted = [p for p in place.rglob("*") if p.is_file()] if place.is_dir() else [place]
        for file in wanted:
            path = file.relative_to(project).as_posix()
            left_out = path.endswith((".so", ".pyc")) or path.startswith("docs/images/")
            assert left_out or path in names, path

# Notices a core that is older than its sources; no rules here.
import os
from pathlib import Path

# Where the sources lie, as seen from where snakemake works: another folder with --directory.
SOURCES = Path(os.path.relpath(workflow.basedir))

CORE_BUILT = Path(workflow.pathvars.apply("<resources>/core.built"))
CORE_SOURCES = [
    (SOURCES / "setup.py").as_posix(),
    (SOURCES / "workflow/rules/build.smk").as_posix(),
    *sorted(
        path.as_posix()
        for path in (SOURCES / "csrc").rglob("*")
        if path.suffix in {".h", ".cuh", ".cpp", ".cu"}
    ),
]


def forget_older_core():
    """Remove the mark of a core that is older than its sources.

    Snakemake drops all jobs behind an `ancient` input that is there and has to be made anew; it
    plans them where it is missing.
    """
    if CORE_BUILT.exists():
        built = CORE_BUILT.stat().st_mtime
        if any(Path(source).stat().st_mtime > built for source in CORE_SOURCES):
            CORE_BUILT.unlink()


if workflow.exec_mode == ExecMode.DEFAULT:
    forget_older_core()

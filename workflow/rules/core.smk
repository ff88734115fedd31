# Notices a core that is older than its sources; no rules here.
import atexit
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


def hide_older_core():
    """Take the mark of a core that is older than its sources away until this run ends.

    Snakemake drops all jobs behind an `ancient` input that is there and has to be made anew; it
    plans them where it is missing.
    """
    if not CORE_BUILT.exists():
        return
    built = CORE_BUILT.stat().st_mtime_ns
    if any(Path(source).stat().st_mtime_ns > built for source in CORE_SOURCES):
        atexit.register(show_older_core, CORE_BUILT.resolve(), built)
        CORE_BUILT.unlink()


def show_older_core(mark, built):
    """Put the mark back where no core was built, as in a dry run."""
    if not mark.exists():
        mark.touch()
        os.utime(mark, ns=(built, built))


if workflow.exec_mode == ExecMode.DEFAULT:
    hide_older_core()

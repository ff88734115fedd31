# Notices a core that is older than its sources; no rules here.
from pathlib import Path

CORE_BUILT = Path("resources/core.built")
CORE_SOURCES = [
    "setup.py",
    "workflow/rules/build.smk",
    *sorted(
        path.as_posix()
        for path in Path("csrc").rglob("*")
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

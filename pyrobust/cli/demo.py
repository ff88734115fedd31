"""`pyrobust demo`: the workflow on 8×8 digits, without a clone of the repository."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from pyrobust.errors import UserError

# The effect of a good generator, and the page that compares it with a poor one and with none.
PAGES = ("results/digits_linf.html", "results/report.html")


def demo(
    folder: Annotated[
        Path, typer.Option(help="Folder to work in; it gets config/, resources/ and results/.")
    ] = Path("pyrobust-demo"),
    cores: Annotated[
        int | None, typer.Option(min=1, help="CPU cores to use; all if not given.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Argument(help="More options of snakemake, after '--'.")
    ] = None,
) -> None:
    """Run the whole workflow on 8×8 digits.

    It trains robust classifiers with and without generated data, and compares them.
    """
    if importlib.util.find_spec("snakemake") is None:
        raise UserError(
            "the demo needs Snakemake, which is not installed: "
            "run pip install 'pyrobust[workflow]' and start it again"
        )
    workflow = find_workflow()
    if not (folder / "config").exists():
        shutil.copytree(workflow / "config", folder / "config")
    count = str(cores or len(os.sched_getaffinity(0)))
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")),
        *("--directory", str(folder), PAGES[-1], "--cores", count),
        # Networks this small do not benefit from a second thread, so each core runs its own job;
        # the profile would run one job at a time.
        *("--max-threads", "1", "--resources", f"gpu={count}", *(options or [])),
    ]
    # The rules start `python`, which must be this one.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    status = subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode
    if status != 0:
        sys.exit(status)
    for page in PAGES:
        if (folder / page).exists():
            print(f"Report: {(folder / page).resolve()}")


def find_workflow() -> Path:
    """Return the folder of the Snakefile: inside the installed package, or the source tree.

    Raises:
        UserError: there is neither.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "deployed", package.parent):
        if (folder / "Snakefile").exists():
            return folder
    raise UserError(
        f"no workflow in {package} or next to it: install pyrobust again by 'pip install "
        "--force-reinstall --no-deps pyrobust', or run it from a clone"
    )

# Tells the pages which options their command needs; no rules here.
#
# They go through the environment, since no page is made anew for options that change no setting.
import json
import os
import shlex
from pathlib import Path


def beside_snakefile(path):
    """Return a path as it is typed in the folder of the Snakefile."""
    home = Path(workflow.basedir).resolve()
    path = Path(path).resolve()
    return str(path.relative_to(home) if path.is_relative_to(home) else path)


def options_of_this_run():
    """Return the options that lead to the same folder and settings again."""
    words = []
    if beside_snakefile(".") != ".":
        words += ["--directory", beside_snakefile(".")]
    if workflow.overwrite_configfiles:
        words += [
            "--configfile",
            *map(beside_snakefile, workflow.overwrite_configfiles),
        ]
    given = workflow.config_settings.config
    if given:
        words += ["--config", *(f"{key}={as_typed(given[key])}" for key in given)]
    return shlex.join(words)


def as_typed(value):
    return value if isinstance(value, str) else json.dumps(value)


if workflow.exec_mode == ExecMode.DEFAULT:
    os.environ.update(PYROBUST_SNAKEMAKE_OPTIONS=options_of_this_run())

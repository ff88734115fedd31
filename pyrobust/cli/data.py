"""Verbs for data: `dataset`, `info` and `export`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.holding import writes_folder
from pyrobust.cli.options import stage_folder, takes_settings
from pyrobust.config.data import DatasetSettings
from pyrobust.errors import UserError

# What the workflow reads.
_CONFIGS = [Path("config/config.yaml"), Path("config/targets.yaml")]


@takes_settings(DatasetSettings)
@writes_folder
def dataset(
    name: Annotated[str, typer.Argument(help="Name of the data set, such as cifar10.")],
    output: Annotated[Path, stage_folder("Folder to write.", "dataset.json")],
    settings: DatasetSettings,
    data_root: Annotated[
        Path, typer.Option(help="Folder that contains the folder NAME of raw files.")
    ] = Path("resources/raw"),
) -> None:
    """Prepare a data set: train, validation and test images."""
    from pyrobust.data.prepare import make_dataset

    make_dataset(name, data_root, output, settings)


def info(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Folder that pyrobust wrote: a data set, model, generator, evaluation, ..."
        ),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Verify all hashes.")] = False,
    plan: Annotated[
        str | None,
        typer.Option(
            help="Experiment, table or figure whose hours, disk space and jobs to estimate."
        ),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            help="For --plan: the configuration; later files override earlier ones. "
            "[default: config/config.yaml and config/targets.yaml]"
        ),
    ] = None,
    machine: Annotated[
        str | None,
        typer.Option(
            help="For --plan: machine whose rates to use; default: h100 if there is a GPU."
        ),
    ] = None,
    devices: Annotated[
        int, typer.Option(min=1, help="For --plan: number of devices used in parallel.")
    ] = 8,
    rates: Annotated[
        Path | None, typer.Option(help="For --plan: rates of your own machines, as TOML.")
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(help="For --plan: cluster profile whose wall times to compare with the jobs."),
    ] = None,
) -> None:
    """Describe a folder, or estimate the cost of an experiment."""
    if (path is None) == (plan is None):
        raise UserError("info needs either a folder or --plan EXPERIMENT; give exactly one")
    if path is not None:
        facts = _facts_of(path, verify)
    else:
        from pyrobust.planning.table import describe_plan

        paths = config or [path for path in _CONFIGS if path == _CONFIGS[0] or path.exists()]
        facts = describe_plan(str(plan), paths, machine or _machine(), devices, rates, profile)
    for fact in facts:
        print(fact)


def _facts_of(path: Path, verify: bool) -> Iterator[str]:
    from pyrobust.data.describe import describe
    from pyrobust.evaluation import describe as evaluations
    from pyrobust.evaluation import describe_certificates as certificates
    from pyrobust.evaluation import describe_threats as threats

    folder = path.parent if path.is_file() else path
    for result, verb, facts_of in (
        (evaluations.RESULT, "evaluate", evaluations.facts_of_evaluation),
        (threats.RESULT, "threats", threats.describe_threats),
        (certificates.RESULT, "certify", certificates.describe_certificates),
    ):
        if (folder / result).is_file():
            return evaluations.describe_file(folder / result, f"pyrobust {verb}", facts_of)
    return describe(path, verify)


def _machine() -> str:
    import torch

    return "h100" if torch.cuda.is_available() else "two-cores"


def export(
    store: Annotated[Path, typer.Argument(help="Folder of a labelled sample store.")],
    output: Annotated[Path, typer.Option(help="File to write, such as samples.npz.")],
) -> None:
    """Write a store as one .npz file.

    Its arrays are `image` and `label`, as in published samples.
    """
    from pyrobust.data.npz import write_npz
    from pyrobust.data.store import SampleStore

    write_npz(SampleStore.open(store), output)

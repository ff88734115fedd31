"""Verbs on data: `dataset` and `info`."""

from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.options import takes_settings
from pyrobust.cli.stage import writes_folder
from pyrobust.config.data import DatasetSettings


@takes_settings(DatasetSettings)
@writes_folder
def dataset(
    name: Annotated[str, typer.Argument(help="Name of the data set, such as cifar10.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    settings: DatasetSettings,
    data_root: Annotated[
        Path, typer.Option(help="Folder that holds the folder NAME of raw files.")
    ] = Path("resources/raw"),
) -> None:
    """Read raw files into three sample stores: train, validation and test."""
    from pyrobust.data.prepare import make_dataset

    make_dataset(name, data_root, output, settings)


def info(
    path: Annotated[
        Path, typer.Argument(help="Folder of a store, data set, generator, labels, ...")
    ],
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file's hash.")] = False,
) -> None:
    """Tell what a folder holds, in one line a fact."""
    from pyrobust.data.describe import describe

    for fact in describe(path, verify):
        print(fact)


def export(
    store: Annotated[Path, typer.Argument(help="Folder of a labelled sample store.")],
    output: Annotated[Path, typer.Option(help="File to write, such as samples.npz.")],
) -> None:
    """Write a store as one .npz of `image` and `label`, as published sets are."""
    from pyrobust.data.npz import write_npz
    from pyrobust.data.store import SampleStore

    write_npz(SampleStore.open(store), output)

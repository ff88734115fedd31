"""Options of every verb that trains: what changes its speed and not its result."""

from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
ResidentMb = Annotated[
    int,
    typer.Option(help="Stores up to this size stay in the device's memory; the rest is mapped."),
]
SaveSteps = Annotated[int, typer.Option(help="Steps after which the state is saved, at most.")]
SaveSeconds = Annotated[float, typer.Option(help="Seconds after which it is saved, at most.")]
Deterministic = Annotated[
    bool, typer.Option(help="Bit-equal results on CUDA, by slower algorithms.")
]
Curves = Annotated[bool, typer.Option(help="TensorBoard curves beside the log.")]

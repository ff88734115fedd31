"""Resources of a verb while it runs: its output folder, a GPU, or several processes with GPUs.

This file also defines the options of verbs that train, which affect speed but not results.
"""

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from pyrobust.errors import UserError
from pyrobust.files import exclusive, shared
from pyrobust.gpus import own_gpus
from pyrobust.ranks import is_started
from pyrobust.shares import Share
from pyrobust.threads import divided_threads
from pyrobust.trackers import parse_trackers
from pyrobust.training.nodes import Layout, number_of_node, reported_status, run_nodes

Verb = Callable[..., None]

_PROCESSES = "processes"
_TRACKERS = "trackers"


def keeps_inputs(verb: Verb) -> Verb:
    """Let `verb` refuse an `output` that is also one of its inputs, which it would replace."""

    @wraps(verb)
    def run(**values: Any) -> None:
        output = values.get("output")
        for name, value in values.items():
            paths = value if isinstance(value, list | tuple) else [value]
            if output is None or name == "output":
                continue
            if any(isinstance(path, Path) and path.resolve() == output.resolve() for path in paths):
                raise UserError(
                    f"output is {output}, which is also {name.replace('_', '-')}: name another one"
                )
        verb(**values)

    return run


def writes_folder(verb: Verb) -> Verb:
    """Allow only one process at a time to run `verb` on its `output` folder."""

    @wraps(verb)
    def run(**values: Any) -> None:
        with exclusive(values["output"]):
            verb(**values)

    return run


@contextmanager
def holding(folder: Path, state: Path, share: Share | None) -> Iterator[None]:
    """Hold `folder` alone, or for one share of a stage while other jobs hold it for theirs.

    Args:
        state: folder in it where the shares keep what they find.
    """
    if share is None:
        with exclusive(folder):
            yield
    else:
        with shared(folder), exclusive(state / f"share-{share.number}-{share.of}"):
            yield


def uses_gpu(verb: Verb) -> Verb:
    """Run `verb` on a GPU that no other process uses, if there are several."""

    @wraps(verb)
    def run(**values: Any) -> None:
        with own_gpus(1):
            verb(**values)

    return run


def _option(
    name: str, kind: type, default: object, text: str, envvar: str | None = None
) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, typer.Option(help=text, envvar=envvar)],
    )


# All but the last are fields of `pyrobust.training.runtime.Runtime`.
_OPTIONS = (
    _option("device", str, "auto", "auto, cpu or cuda."),
    _option(
        "resident_mb",
        int,
        4096,
        "Keep stores up to this size (MiB) in device memory; larger ones are memory-mapped.",
    ),
    _option("save_steps", int, 1000, "Save the state at least every so many steps."),
    _option("save_seconds", float, 120.0, "Save the state at least every so many seconds."),
    _option("deterministic", bool, False, "Use deterministic CUDA algorithms, which are slower."),
    _option(
        _TRACKERS,
        str,
        "tensorboard",
        "Experiment trackers, separated by commas: tensorboard, wandb, mlflow, trackio.",
        envvar="PYROBUST_TRACKERS",
    ),
    inspect.Parameter(
        _PROCESSES,
        inspect.Parameter.KEYWORD_ONLY,
        default="1",
        annotation=Annotated[
            Layout,
            typer.Option(
                help="Processes that share each batch, one per GPU; 2x8 is 8 on each of 2 nodes "
                "of a Slurm job.",
                parser=Layout.parse,
                metavar="NUMBER",
            ),
        ],
    ),
)


def takes_runtime(verb: Verb) -> Verb:
    """Replace the `runtime` parameter of a verb by one option per field, and `--processes`."""
    signature = inspect.signature(verb)
    own = [p for p in signature.parameters.values() if p.name != "runtime"]

    @wraps(verb)
    def run(**values: Any) -> None:
        given = {option.name: values.pop(option.name) for option in _OPTIONS}
        layout = given.pop(_PROCESSES)
        given[_TRACKERS] = parse_trackers(given[_TRACKERS])
        node, started = number_of_node(), is_started(layout.world_size)
        if layout.nodes > 1 and node is None and not started:
            sys.exit(run_nodes(_command(), layout.nodes))
        takes_gpus = given["device"] != "cpu" and not started
        with own_gpus(layout.per_node) if takes_gpus else nullcontext():
            if layout.world_size > 1 and not started:
                _share_out(layout, given["device"], node)

            from pyrobust.training.runtime import Runtime

            verb(runtime=Runtime(**given), **values)

    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + list(_OPTIONS)
    )
    # typer evaluates all annotations, but `Runtime` is not imported yet.
    run.__annotations__ = {k: v for k, v in verb.__annotations__.items() if k != "runtime"}
    return run


def _command() -> list[str]:
    """Return the words that run this command again."""
    return [sys.executable, "-m", "pyrobust", *sys.argv[1:]]


def _share_out(layout: Layout, device: str, node: int | None) -> None:
    """Run the processes of this node and exit with their status.

    Args:
        node: number of this node among several.

    Raises:
        UserError: there are fewer GPUs than processes.
    """
    import torch

    from pyrobust.training.data_parallel import run_processes

    count, num_gpus = layout.per_node, torch.cuda.device_count()
    if device != "cpu" and 0 < num_gpus < count:
        raise UserError(
            f"processes is {count}, but torch finds only {num_gpus} GPU{'s' * (num_gpus > 1)}; use "
            f"--processes {num_gpus}, or another machine"
        )
    # Snakemake sets OMP_NUM_THREADS to the threads of the whole job; each process gets its part.
    os.environ |= divided_threads(count)
    if node is None:
        sys.exit(run_processes(_command(), count))
    status = run_processes(_command(), count, first_rank=node * count, world_size=layout.world_size)
    sys.exit(reported_status(node, status))

"""What a verb holds while it runs: its output folder, a GPU, or several processes and their GPUs.

The options of verbs that train are here, too: they change speed and not results.
"""

import inspect
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Annotated, Any

import typer

from pyrobust.errors import UserError
from pyrobust.files import exclusive
from pyrobust.gpus import own_gpus
from pyrobust.trackers import parse_trackers

Verb = Callable[..., None]

_PROCESSES = "processes"
_TRACKERS = "trackers"


def writes_folder(verb: Verb) -> Verb:
    """Let one process at a time run `verb` on its `output` folder."""

    @wraps(verb)
    def run(**values: Any) -> None:
        with exclusive(values["output"]):
            verb(**values)

    return run


def uses_gpu(verb: Verb) -> Verb:
    """Let `verb` run on a GPU that no other process has taken, where there are several."""

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
        "Stores up to this size stay in the device's memory; the rest is mapped.",
    ),
    _option("save_steps", int, 1000, "Steps after which the state is saved, at most."),
    _option("save_seconds", float, 120.0, "Seconds after which it is saved, at most."),
    _option("deterministic", bool, False, "Bit-equal results on CUDA, by slower algorithms."),
    _option(
        _TRACKERS,
        str,
        "tensorboard",
        "Trackers of the log, with commas between: tensorboard, wandb, mlflow, trackio.",
        envvar="PYROBUST_TRACKERS",
    ),
    _option(_PROCESSES, int, 1, "Processes that share each batch, one a GPU."),
)


def takes_runtime(verb: Verb) -> Verb:
    """Replace the `runtime` parameter of a verb by one option a field, and `--processes`."""
    signature = inspect.signature(verb)
    own = [p for p in signature.parameters.values() if p.name != "runtime"]

    @wraps(verb)
    def run(**values: Any) -> None:
        given = {option.name: values.pop(option.name) for option in _OPTIONS}
        count = given.pop(_PROCESSES)
        given[_TRACKERS] = parse_trackers(given[_TRACKERS])
        with _gpus(count, given["device"]):
            _share_out(count, given["device"])

            from pyrobust.training.runtime import Runtime

            verb(runtime=Runtime(**given), **values)

    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + list(_OPTIONS)
    )
    # typer evaluates all annotations, and that of `runtime` is not imported yet.
    run.__annotations__ = {k: v for k, v in verb.__annotations__.items() if k != "runtime"}
    return run


def _gpus(count: int, device: str) -> AbstractContextManager[None]:
    """Return a block with a GPU for each process; one that was started for them has its own."""
    return nullcontext() if device == "cpu" or "LOCAL_RANK" in os.environ else own_gpus(count)


def _share_out(count: int, device: str) -> None:
    """Run this command in `count` processes and exit as they do; go on if this is one of them.

    Raises:
        UserError: there are GPUs, but fewer than processes.
    """
    if count <= 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return
    import torch

    from pyrobust.training.data_parallel import run_processes

    num_gpus = torch.cuda.device_count()
    if device != "cpu" and 0 < num_gpus < count:
        raise UserError(
            f"processes is {count} and torch finds {num_gpus} GPUs, expected one a process: "
            "ask for fewer, or train on another machine"
        )
    # Snakemake sets OMP_NUM_THREADS to the threads of the whole job; each process gets its part.
    cores = len(os.sched_getaffinity(0))
    threads = min(cores, int(os.environ.get("OMP_NUM_THREADS") or cores))
    os.environ["OMP_NUM_THREADS"] = str(max(1, threads // count))
    sys.exit(run_processes([sys.executable, "-m", "pyrobust", *sys.argv[1:]], count))

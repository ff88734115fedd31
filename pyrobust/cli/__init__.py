"""The command line: `pyrobust <verb>`, with one verb for each rule of the workflow.

Verbs import heavy packages inside their functions, so that help and errors appear at once.
"""

import errno
import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from pyrobust import __version__
from pyrobust.cli import (
    analyse,
    certify,
    convert,
    data,
    demo,
    evaluate,
    generate,
    leaderboard,
    publish,
    report,
    threats,
    train,
    verify,
)
from pyrobust.cli.holding import Verb, keeps_inputs
from pyrobust.errors import (
    EXIT_RESUMABLE,
    BusyError,
    OwnCodeError,
    Stopped,
    UserError,
    lacks_memory,
)
from pyrobust.own_code import own_traceback
from pyrobust.ranks import is_started
from pyrobust.training.nodes import number_of_node
from pyrobust.workflow.attempts import append_output, note_end

app = typer.Typer(
    help="Evaluate image classifiers under attack, and train robust ones with generated data.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"max_content_width": 100},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its tables cut off the names of options at 80 columns
)


def _add(name: str, verb: Verb) -> None:
    app.command(name)(keeps_inputs(verb))


_add("demo", demo.demo)
_add("dataset", data.dataset)
_add("export", data.export)
_add("info", data.info)

_add("train-labeller", train.train_labeller)
_add("train", train.train)
_add("choose", train.choose)
_add("convert", convert.convert)

_add("fit-generator", generate.fit_generator)
_add("sample", generate.sample)
_add("label", generate.label)
_add("distances", generate.distances)
_add("select", generate.select)
_add("mix", generate.mix)

_add("features", analyse.features)
_add("neighbours", analyse.neighbours)
_add("quality", analyse.quality)
_add("augment", analyse.augment)

_add("evaluate", evaluate.evaluate)
_add("threats", threats.threats)
_add("certify", certify.certify)
_add("landscape", evaluate.landscape)
_add("verify", verify.verify)
_add("robustbench", leaderboard.robustbench)
_add("publish", publish.publish)

_add("report", report.report)
_add("compare", report.compare)
_add("target", report.target)

# How torch and CUDA libraries report a lack of GPU memory, which mem_mb does not affect.
_NO_GPU_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "ALLOC_FAILED")

# A full, read-only or failing disk, and too many open files.
_NO_FILE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}


def _print_version(asked: bool) -> None:
    if asked:
        print(f"pyrobust {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    log: Annotated[
        Path | None,
        typer.Option(help="Append the output to this file, with the time of each attempt."),
    ] = None,
) -> None:
    """Evaluate image classifiers under attack, and train robust ones with generated data."""
    # Several processes and nodes share one log.
    if log is None or is_started(1) or number_of_node() is not None:
        return
    words = sys.argv[1:]
    append_output(log, words[words.index(str(context.invoked_subcommand)) :])
    context.ensure_object(dict)["log"] = log


def main() -> None:
    """Run the command line.

    Invalid input and a lack of memory or disk space end with one sentence and status 2; SIGTERM and
    a folder in use by another job end with status 75, after which the same command resumes.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _stop)
    given: dict[str, Path] = {}
    status = 1  # after a traceback
    try:
        _run(given)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        if "log" in given:
            note_end(status)


def _run(given: dict[str, Path]) -> None:
    """Run the verb; print errors that a user can fix as one sentence.

    Args:
        given: receives the `log`, if one is named.
    """
    try:
        app(obj=given)
    except Stopped:
        _refuse("stopped by SIGTERM; the same command resumes", EXIT_RESUMABLE)
    except BusyError as error:
        _refuse(str(error), EXIT_RESUMABLE)
    except OwnCodeError as error:
        if error.__cause__ is not None:
            print(own_traceback(error.__cause__), end="", file=sys.stderr)
        _refuse(str(error))
    except UserError as error:
        _refuse(str(error))
    except (MemoryError, OSError, OverflowError, RuntimeError) as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        _refuse(sentence)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough: what follows is the end
    raise Stopped


def _refuse(sentence: str, status: int = 2) -> None:
    print(f"pyrobust: {sentence}", file=sys.stderr)
    sys.exit(status)


def sentence_of(error: Exception) -> str | None:
    """Return one sentence about a lack of memory or disk space, or a huge number; else None."""
    if isinstance(error, OverflowError):
        return f"a number among the options or in a file is too large ({error}); use a smaller one"
    if isinstance(error, OSError) and error.errno in _NO_FILE:
        return f"the system refuses a file: {error}; fix that and run the same command: it resumes"
    text = str(error)
    if lacks_memory(error):
        reason = text.splitlines()[0] if text else "no reason given"
        if any(sign in text for sign in _NO_GPU_MEMORY):
            return (
                f"the GPU is out of memory ({reason}): use one with more memory or a smaller batch "
                "(a training also takes --processes over several GPUs and a lower --resident-mb); "
                "the same command resumes"
            )
        return (
            f"out of memory ({reason}): run the same command with more free memory (on a cluster, "
            "a higher mem_mb) and it resumes"
        )
    return None

"""The command line: `python -m pyrobust <verb>`, one verb for each rule of the workflow.

A verb's heavy imports stand inside its function, so that help and refusals answer at once.
"""

import logging
import sys

import typer

from pyrobust.cli import (
    analyse,
    compare,
    convert,
    data,
    demo,
    evaluate,
    generate,
    report,
    target,
    train,
)
from pyrobust.cli.accidents import told
from pyrobust.errors import UserError

app = typer.Typer(
    help="Robust image classifiers trained with generated data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command("demo")(demo.demo)
app.command("dataset")(data.dataset)
app.command("export")(data.export)
app.command("info")(data.info)

app.command("train-labeller")(train.train_labeller)
app.command("train")(train.train)
app.command("choose")(train.choose)
app.command("convert")(convert.convert)

app.command("fit-generator")(generate.fit_generator)
app.command("sample")(generate.sample)
app.command("label")(generate.label)
app.command("distances")(generate.distances)
app.command("select")(generate.select)
app.command("mix")(generate.mix)

app.command("features")(analyse.features)
app.command("neighbours")(analyse.neighbours)
app.command("quality")(analyse.quality)
app.command("augment")(analyse.augment)

app.command("evaluate")(evaluate.evaluate)
app.command("landscape")(evaluate.landscape)
app.command("robustbench")(evaluate.robustbench)

app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("target")(target.target)


def main() -> None:
    """Run the command line; exit 2 with one sentence on bad input and on want of memory or disk."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except UserError as error:
        _refuse(str(error))
    except (MemoryError, OSError, RuntimeError) as error:
        sentence = told(error)
        if sentence is None:
            raise
        _refuse(sentence)


def _refuse(sentence: str) -> None:
    print(f"pyrobust: {sentence}", file=sys.stderr)
    sys.exit(2)

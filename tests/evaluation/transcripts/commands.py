"""The verbs that write and verify transcripts, as tests call them."""

from pathlib import Path

from typer.testing import CliRunner, Result

from pyrobust.cli import app

ATTACK = ["--batch-size", "50", "--pass-size", "16", "--attack", "pgd40"]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def run_evaluate(*arguments: object) -> None:
    result = invoke("evaluate", "--norm", "linf", "--epsilon", "24/255", *ATTACK, *arguments)
    assert result.exit_code == 0, result.output


def verified(file: Path, *arguments: object) -> tuple[int, str]:
    result = invoke("verify", file, *arguments)
    return result.exit_code, result.output

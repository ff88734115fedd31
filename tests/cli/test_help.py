"""The help fits a terminal of 80 columns."""

import os
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import pyrobust
from pyrobust.cli import app

VERBS = getattr(typer.main.get_command(app), "commands")  # noqa: B009


@pytest.mark.parametrize("verb", VERBS)
def test_no_option_is_cut_off(verb: str) -> None:
    context = VERBS[verb].make_context(verb, [], resilient_parsing=True, terminal_width=80)
    text = VERBS[verb].get_help(context)
    assert max(map(len, text.splitlines())) <= 80
    for parameter in VERBS[verb].params:
        if parameter.param_type_name == "option":
            for name in parameter.opts:
                assert name in text.split() or f"{name}," in text, name


def test_the_terminal_decides_the_width() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "pyrobust", "evaluate", "--help"],
        env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert max(map(len, said.splitlines())) <= 80
    assert "--multitargeted-restarts <int>" in said


def test_the_list_of_verbs_is_not_cut_off() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "pyrobust", "--help"],
        env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = said.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == list(VERBS)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


@pytest.mark.parametrize("verb", VERBS)
def test_defaults_read_as_a_user_types_them(verb: str) -> None:
    context = VERBS[verb].make_context(verb, [], resilient_parsing=True, terminal_width=80)
    text = " ".join(VERBS[verb].get_help(context).split())
    assert not re.search(r"\[default: (True|False|None|\(|Pydantic)", text)


def test_the_version_is_printed_without_a_verb() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.output) == (0, f"pyrobust {pyrobust.__version__}\n")

"""Odd values of options: a result, or one sentence."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pyrobust.config.data import DatasetSettings
from tests.boundaries.oracle import run

VALUES = ("", " ", "0", "-1", "1", "3", "1e3", "0x10", "nan", "inf", "-inf", "true", "null", "[]",
          "{}", "3.0", "١", "9" * 30, "ant", "../..", "a b", "'", "--", "\t")  # fmt: skip
OPTIONS = tuple(f"--{name.replace('_', '-')}" for name in DatasetSettings.model_fields)


@settings(max_examples=40)
@given(
    odd=st.lists(
        st.tuples(st.sampled_from(OPTIONS), st.sampled_from(VALUES)),
        min_size=1,
        max_size=2,
        unique_by=lambda pair: pair[0],
    )
)
def test_odd_values_of_options_are_used_or_refused(odd: list[tuple[str, str]]) -> None:
    given_options = [f"{option}={value}" for option, value in odd if option != "--flip"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = ["dataset", "digits", "--layout", "digits", "--test-size", "90"]
        plain += ["--validation-size", "90", "--output", "out"]
        why = run(folder, *plain, *given_options)
        assert (folder / "out" / "dataset.json").is_file() == (why is None)

"""YAML files that users write."""

from pathlib import Path

import pytest

from pyrobust.config.yaml_files import read_yaml
from pyrobust.errors import UserError

REPEATED = [
    ("a: 1\nb: 2\na: 1\n", "'a' twice, in lines 1 and 3"),
    ("a: {b: 1, c: 2, b: 3}", "'b' twice, in lines 1 and 1"),
    ("a:\n- {b: 1}\n- c: 1\n  c: 2\n", "'c' twice, in lines 3 and 4"),
    ("a: &x {b: 1}\nc: {<<: *x, d: 1, d: 2}\n", "'d' twice"),
]


@pytest.mark.parametrize(("text", "message"), REPEATED)
def test_a_key_that_is_given_twice_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "file.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_yaml(tmp_path / "file.yaml")


def test_a_mapping_overrides_what_it_merges(tmp_path: Path) -> None:
    text = "a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\ne: *x\nf: {<<: *x}\n"
    (tmp_path / "file.yaml").write_text(text)
    merged = {"b": 1, "c": 2}
    expected = {"a": merged, "d": {"b": 3, "c": 2}, "e": merged, "f": merged}
    assert read_yaml(tmp_path / "file.yaml") == expected


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_is_an_empty_mapping(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.yaml").write_text(text)
    assert read_yaml(tmp_path / "file.yaml") == {}


@pytest.mark.parametrize("text", ["- 1\n", "a: [", "\xff", "a: &x [*x]\n- 1"])
def test_other_files_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"file\.yaml"):
        read_yaml(tmp_path / "file.yaml")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml"):
        read_yaml(tmp_path / "none.yaml")

"""The choice among runs: by validation, the lower seed among equals."""

from pathlib import Path
from typing import Any

import pytest

from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json
from pyrobust.training.choose import choose_run


def make_run(
    folder: Path,
    seed: int,
    robust_accuracy: float,
    facts: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    record = {
        "batch_norm_images": 64,
        **(facts or {}),
        "settings": {"epsilon": "8/255", **settings, "seed": seed},
        "best_step": 10 + seed,
        "validation": {"robust_accuracy": robust_accuracy},
    }
    write_json(folder / "training.json", record)
    (folder / "model.safetensors").write_bytes(f"weights of {seed}".encode())
    return folder


def test_the_most_robust_run_is_chosen_and_the_lower_seed_among_equals(tmp_path: Path) -> None:
    accuracies = {4: 0.5, 2: 0.7, 3: 0.7}
    runs = [make_run(tmp_path / f"seed{s}", s, value) for s, value in accuracies.items()]
    choose_run(runs, tmp_path / "out")
    choice = read_json(tmp_path / "out/choice.json", "")
    assert choice["chosen_seed"] == 2
    assert [run["seed"] for run in choice["runs"]] == [2, 3, 4]
    assert choice["runs"][0] == {
        "seed": 2,
        "best_step": 12,
        "validation": {"robust_accuracy": 0.7},
    }
    assert (tmp_path / "out/model.safetensors").read_bytes() == b"weights of 2"


def test_runs_that_differ_in_more_than_the_seed_are_refused(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "a", 0, 0.5),
        make_run(tmp_path / "b", 1, 0.6, epsilon="4/255"),
    ]
    with pytest.raises(UserError, match=r"b was trained with epsilon 4/255 and .*a with 8/255"):
        choose_run(runs, tmp_path / "out")
    same = [runs[0], make_run(tmp_path / "c", 0, 0.6)]
    with pytest.raises(UserError, match="one run per seed"):
        choose_run(same, tmp_path / "out")
    with pytest.raises(UserError, match="'pyrobust train' writes it"):
        choose_run([tmp_path / "absent"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({}, {"batch_norm_images": 32}, "b was trained with batch_norm_images 32 and .*a with 64"),
        ({}, {"own_code": {"objective": "cd"}}, "own_code {'objective': 'cd'} and .*a with None"),
        ({"own_code": {"objective": "ab"}}, {"own_code": {"objective": "cd"}}, "'cd'} and .*'ab'}"),
    ],
)
def test_runs_of_other_code_or_other_batch_statistics_are_refused(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], words: str
) -> None:
    runs = [
        make_run(tmp_path / "a", 0, 0.5, first),
        make_run(tmp_path / "b", 1, 0.6, second),
    ]
    with pytest.raises(UserError, match=words):
        choose_run(runs, tmp_path / "out")

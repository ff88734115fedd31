"""The recipe of docs/extending.md for an objective of one's own, run as it is written there."""

import json
import re
from pathlib import Path

import pytest

from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError
from pyrobust.files import read_json
from pyrobust.training.objectives import make_objective
from pyrobust.training.runtime import Runtime
from pyrobust.training.train_robust import train_robust

DOCS = Path(__file__).parents[2] / "docs/extending.md"


def recipe() -> tuple[str, str]:
    """Return the module and the name of its objective that the docs show."""
    section = DOCS.read_text().split("\n## An objective\n")[1].split("\n## ")[0]
    module = re.search(r"```python\n# my_objectives\.py\n(.*?)```", section, re.DOTALL)
    setting = re.search(r"objective: (my_objectives:\w+)", section)
    assert module and setting
    return module[1], setting[1]


def test_an_objective_of_the_user_trains_as_the_docs_show(
    digits: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, objective = recipe()
    (tmp_path / "my_objectives.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    values = {"architecture": "wrn-10-1", "batch_size": 8, "epoch_size": 16, "epochs": 1}
    settings = TrainSettings(
        **values, attack_steps=1, validations=1, gap_images=0, objective=objective
    )
    runtime = Runtime(device="cpu", trackers=())
    train_robust(digits, samples, tmp_path / "run", settings, runtime)
    record = read_json(tmp_path / "run/training.json", "")
    assert record["settings"]["objective"] == objective
    assert len(record["own_code"]["objective"]) == 64
    first = (tmp_path / "run/log.jsonl").read_text().splitlines()[0]
    assert {"loss", "clean_loss", "robust_accuracy"} <= set(json.loads(first))


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        ("no_such_module:Loss", "cannot import objective no_such_module:Loss"),
        ("collections:NoSuchName", "cannot import objective collections:NoSuchName"),
        ("builtins:str", "made a str; expected a subclass of .*Objective"),
    ],
)
def test_what_is_not_an_objective_is_refused(objective: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        make_objective(TrainSettings(objective=objective))

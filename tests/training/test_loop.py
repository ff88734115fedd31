"""The loop: resumption with the same bits, interruption, divergence, log and history."""

import json
import logging
import os
import signal
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.tensors import read_tensors, write_tensors
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loop import SKIPPED, LoopSettings, Metrics, Run, remove_state, run_loop
from pyrobust.training.resuming import Interrupted
from tests.kills import Killed

ONE = Processes(torch.device("cpu"))


class Walk:
    """A chaotic map: any step lost or done twice changes all that follows."""

    metric_names = ("loss", "size")

    def __init__(self, before_step: Callable[[int], None] = lambda step: None) -> None:
        self.x = torch.linspace(0.1, 0.9, 5)
        self.kept = torch.zeros(5)
        self.before_step = before_step

    def step(self, step: int) -> Tensor:
        self.before_step(step)
        self.x = 3.9 * self.x * (1 - self.x)
        return torch.stack([self.x.mean(), self.x.max()])

    def log_facts(self, step: int) -> Metrics:
        return {"epoch": step / 10, "learning_rate": 0.1}

    def validate(self, stopping: Callable[[], bool]) -> Metrics | None:
        return None if stopping() else {"robust_accuracy": round(float(self.x[0]), 1)}

    def keep(self) -> None:
        self.kept = self.x.clone()

    def state(self) -> dict[str, Tensor]:
        return {"x": self.x, "kept": self.kept}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        self.x, self.kept = tensors["x"].clone(), tensors["kept"].clone()


SETTINGS = LoopSettings(total_steps=50, batch_size=4, validations=7, save_steps=3, trackers=())


def train(
    folder: Path, task: Walk, settings: LoopSettings = SETTINGS, identity: object = "one"
) -> Run:
    return run_loop(task, settings, folder, {"settings": {"epsilon": identity}}, "walk", ONE)


def kill_at(when: int) -> Callable[[int], None]:
    def before_step(step: int) -> None:
        if step == when:
            raise Killed

    return before_step


@pytest.mark.parametrize("steps", [(1,), (3,), (11, 29), (7, 8, 9, 49)])
def test_a_killed_run_ends_with_the_same_bits_log_and_history(
    steps: tuple[int, ...], tmp_path: Path
) -> None:
    whole = Walk()
    history = train(tmp_path / "whole", whole).history
    folder = tmp_path / "killed"
    for step in steps:
        with pytest.raises(Killed):
            train(folder, Walk(kill_at(step)))
    task = Walk()
    run = train(folder, task)
    assert torch.equal(task.x, whole.x) and torch.equal(task.kept, whole.kept)
    assert run.history == history
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("whole", "killed")]
    assert logs[0] == logs[1]


def test_the_history_is_evenly_spread_and_the_best_is_the_later_of_equals(tmp_path: Path) -> None:
    task = Walk()
    run = train(tmp_path, task)
    assert [entry["step"] for entry in run.history] == [7, 14, 21, 29, 36, 43, 50]
    best = run.best("robust_accuracy")
    highest = max(entry["robust_accuracy"] for entry in run.history)
    last = max(e["step"] for e in run.history if e["robust_accuracy"] == highest)
    assert best["step"] == last
    again = Walk()
    for step in range(best["step"]):
        again.step(step)
    assert torch.equal(task.kept, again.x)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_exits_with_75(number: int, tmp_path: Path) -> None:
    def raise_signal(step: int) -> None:
        if step == 16:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as stopped:
        train(tmp_path / "stopped", Walk(raise_signal))
    assert "the same call" in str(stopped.value)
    assert stopped.value.code == 75
    task = Walk(kill_at(16))  # step 16 was saved, so it is not made again
    train(tmp_path / "stopped", task)
    whole = Walk()
    train(tmp_path / "whole", whole)
    assert torch.equal(task.x, whole.x)
    assert signal.getsignal(number) == before


def test_a_validation_that_is_interrupted_is_made_again(tmp_path: Path) -> None:
    class Interrupting(Walk):
        def validate(self, stopping: Callable[[], bool]) -> Metrics | None:
            os.kill(os.getpid(), signal.SIGTERM)
            return super().validate(stopping)

    with pytest.raises(Interrupted):
        train(tmp_path, Interrupting())
    assert [entry["step"] for entry in train(tmp_path, Walk()).history][:2] == [7, 14]


def test_a_diverging_loss_names_the_step_and_keeps_the_state_before_it(tmp_path: Path) -> None:
    class Diverging(Walk):
        def step(self, step: int) -> Tensor:
            metrics = super().step(step)
            return metrics * float("nan") if step == 13 else metrics

    with pytest.raises(UserError, match="loss of step 13 is nan; try a lower --learning-rate"):
        train(tmp_path, Diverging())
    whole, task = Walk(), Walk()
    train(tmp_path / "whole", whole)
    train(tmp_path, task)
    assert torch.equal(task.x, whole.x)


@pytest.mark.parametrize("step", [13, 14, 49])
def test_weights_that_are_not_finite_are_never_saved(step: int, tmp_path: Path) -> None:
    class Diverging(Walk):
        def step(self, number: int) -> Tensor:
            metrics = super().step(number)
            if number == step:
                self.x[2] = float("inf")
            return torch.nan_to_num(metrics, 0.5)  # as where the loss does not see them

    with pytest.raises(UserError, match=r"diverged: x is not finite after step \d+; try a lower"):
        train(tmp_path, Diverging())
    whole, task = Walk(), Walk()
    train(tmp_path / "whole", whole)
    train(tmp_path, task)
    assert torch.equal(task.x, whole.x)


def test_a_state_of_other_settings_is_refused_and_the_difference_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Killed):
        train(tmp_path, Walk(kill_at(20)), identity="8/255")
    with caplog.at_level(logging.INFO):
        run = train(tmp_path, Walk(), identity="4/255")
    told = [m for m in caplog.messages if "is not resumed" in m]
    assert len(told) == 1
    assert "settings.epsilon: 8/255 there, 4/255 here" in told[0]
    assert run.step == 50
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 5 + 7


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def without_a_tensor(path: Path) -> None:
    tensors, facts = read_tensors(path, "")
    write_tensors(path, {"x": tensors["x"]}, facts)


def with_another_fact(path: Path) -> None:
    tensors, facts = read_tensors(path, "")
    write_tensors(path, tensors, {**facts, "velocity": 3})


@pytest.mark.parametrize("damage", [torn, without_a_tensor, with_another_fact])
def test_a_state_that_cannot_be_loaded_is_named(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train(tmp_path, Walk(kill_at(20)))
    (state,) = tmp_path.glob("state/*/state.safetensors")
    damage(state)
    with pytest.raises(UserError, match=rf"{state} .*remove {tmp_path}/state to start from scr"):
        train(tmp_path, Walk())


def test_what_a_power_failure_leaves_after_the_saved_state_is_ignored(tmp_path: Path) -> None:
    whole, task = Walk(), Walk()
    train(tmp_path / "whole", whole)
    with pytest.raises(Killed):
        train(tmp_path, Walk(kill_at(20)))
    with (tmp_path / "log.jsonl").open("ab") as log:
        log.write(b"\0" * 99 + b"\n3\n{}\n")
    other = tmp_path / "state" / "0" / "identity.json"
    other.parent.mkdir()
    other.touch()
    train(tmp_path, task)
    assert torch.equal(task.x, whole.x)
    logs = [(folder / "log.jsonl").read_bytes() for folder in (tmp_path / "whole", tmp_path)]
    assert logs[0] == logs[1]
    with pytest.raises(Killed):  # a state of no settings that can be read
        train(tmp_path, Walk(kill_at(20)), identity="another")


def test_a_finished_run_that_is_started_again_only_ends_again(tmp_path: Path) -> None:
    first, second = Walk(), Walk(kill_at(0))
    train(tmp_path, first)
    train(tmp_path, second)
    assert torch.equal(first.x, second.x)
    remove_state(tmp_path)
    assert not (tmp_path / "state").exists()


def test_a_line_of_the_log_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    train(tmp_path, Walk())
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    first = next(line for line in lines if "split" not in line)
    task = Walk()
    losses = [float(task.step(step)[0]) for step in range(10)]
    assert first == {
        "step": 10,
        "epoch": 1.0,
        "learning_rate": 0.1,
        "loss": pytest.approx(sum(losses) / 10),
        "size": pytest.approx(first["size"]),
    }
    validation = next(line for line in lines if "split" in line)
    assert validation["split"] == "validation"
    assert validation["step"] == 7


def test_the_curves_of_a_killed_run_are_the_lines_of_its_log(tmp_path: Path) -> None:
    settings = LoopSettings(total_steps=50, batch_size=4, validations=5, save_steps=5)
    with pytest.raises(Killed):
        train(tmp_path, Walk(kill_at(34)), settings)
    train(tmp_path, Walk(), settings)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for tag, split, key in (
        ("train/loss", None, "loss"),
        ("train/learning_rate", None, "learning_rate"),
        ("validation/robust_accuracy", "validation", "robust_accuracy"),
    ):
        points = {point.step: point.value for point in curves.Scalars(tag)}
        expected = {line["step"]: line[key] for line in lines if line.get("split") == split}
        assert len(expected) == 5
        assert points == pytest.approx(expected, rel=1e-6), tag


class Skipping(Walk):
    """Skips the updates of some steps, whose loss is not finite."""

    metric_names = ("loss", "size", SKIPPED)

    def __init__(self, skipped: Collection[int], before_step=lambda step: None) -> None:
        super().__init__(before_step)
        self.skipped = skipped

    def step(self, step: int) -> Tensor:
        if step in self.skipped:
            self.before_step(step)
            return torch.tensor([float("inf"), float("nan"), 1.0])
        return torch.cat([super().step(step), torch.zeros(1)])


def test_skipped_updates_are_counted_and_the_others_averaged(tmp_path: Path) -> None:
    skipped = {3, 4, *range(20, 30)}
    train(tmp_path, Skipping(skipped))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    of_steps = [line for line in lines if "split" not in line]
    assert [line[SKIPPED] for line in of_steps] == [2, 0, 10, 0, 0]
    walk = Walk()
    losses = [float(walk.step(step)[0]) for step in range(8)]
    assert of_steps[0]["loss"] == pytest.approx(sum(losses) / 8)
    assert "loss" not in of_steps[2]


def test_a_long_row_of_skipped_updates_ends_the_run_though_it_was_resumed(tmp_path: Path) -> None:
    settings = replace(SETTINGS, total_steps=300)
    with pytest.raises(Killed):
        train(tmp_path / "row", Skipping(range(150, 250), kill_at(235)), settings)
    with pytest.raises(UserError, match="100 consecutive updates were skipped, up to step 24"):
        train(tmp_path / "row", Skipping(range(150, 250)), settings)
    train(tmp_path / "broken", Skipping([s for s in range(150, 251) if s != 200]), settings)


def test_an_update_made_from_a_loss_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    class Careless(Skipping):
        def step(self, step: int) -> Tensor:
            return super().step(step) * torch.tensor([1, 1, 0])

    settings = replace(SETTINGS, max_loss=float("inf"))
    with pytest.raises(UserError, match="diverged: the loss of step 7 is inf"):
        train(tmp_path, Careless([7]), settings)

"""Experiment trackers get the numbers of the log once, also from a run that was killed."""

import json
import logging
import struct
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest

from pyrobust.errors import UserError
from pyrobust.trackers import Trackers, open_trackers, parse_trackers
from pyrobust.training.log import open_log

LOSSES = {10: 0.5, 20: 0.25, 30: 0.125, 40: 0.0625}


def log_killed_and_resumed(folder: Path, tracker: str) -> None:
    """Log steps 10 to 40, killed after step 30 with a state saved at step 20."""
    config = {"settings": {"seed": 1}}
    names = parse_trackers(tracker)
    with pytest.raises(KeyboardInterrupt), open_log(folder, 0, 0, names, config) as log:
        for step in (10, 20):
            log.write({"step": step, "loss": LOSSES[step]})
        position = log.position()
        log.write({"step": 30, "loss": LOSSES[30]})
        raise KeyboardInterrupt
    time.sleep(1.1)  # W&B names the files of a run by the second
    with open_log(folder, position, 20, names, config) as log:
        for step in (30, 40):
            log.write({"step": step, "loss": LOSSES[step]})
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert {line["step"]: line["loss"] for line in lines} == LOSSES


def test_mlflow_finds_the_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    client_type, statuses = tracking.MlflowClient, []

    def note(self, run_id: str, status: str | None = None, end_time: int | None = None) -> None:
        terminate(self, run_id, status, end_time)
        statuses.append(self.get_run(run_id).info.status)

    terminate = client_type.set_terminated
    monkeypatch.setattr(client_type, "set_terminated", note)
    log_killed_and_resumed(tmp_path / "run", "mlflow")
    client = tracking.MlflowClient()
    experiment = client.get_experiment_by_name("pyrobust")
    (run,) = client.search_runs([experiment.experiment_id])
    assert statuses == ["KILLED", "FINISHED"]
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == list(LOSSES.items())
    assert json.loads(run.data.params["settings"]) == {"seed": 1}


def test_trackio_finds_the_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    trackio = pytest.importorskip("trackio", reason="trackio is not installed")
    monkeypatch.setenv("TRACKIO_PROJECT", f"pyrobust-{tmp_path.name}")
    log_killed_and_resumed(tmp_path / "run", "trackio")
    project = f"pyrobust-{tmp_path.name}"
    (name,) = trackio.SQLiteStorage.get_runs(project)
    logs = trackio.SQLiteStorage.get_logs(project, name)
    assert {entry["step"]: entry["train/loss"] for entry in logs} == LOSSES
    assert len(logs) == len(LOSSES)


def test_wandb_writes_both_parts_of_a_run_under_one_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log_killed_and_resumed(tmp_path / "run", "wandb")
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    run_id = json.loads((tmp_path / "run" / "trackers.json").read_text())["wandb"]
    assert {file.stem for file in files} == {f"run-{run_id}"}
    for _ in range(100):  # W&B's own process writes the last lines after the run has ended
        points = [point for file in files for point in wandb_history(file)]
        if len(points) == len(LOSSES):
            break
        time.sleep(0.2)
    assert points == list(LOSSES.items())


def wandb_history(file: Path) -> list[tuple[int, float]]:
    """Return (step, loss) of an offline file: a log of LevelDB's format behind 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, place, points, pending = file.read_bytes(), 7, [], b""
    while place < len(data):
        if 32768 - place % 32768 < 7:  # no record begins in the last bytes of a block
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        pending += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(pending)
            pending = b""
            values = {
                item.key or item.nested_key[0]: json.loads(item.value_json)
                for item in record.history.item
            }
            if "train/loss" in values:
                points.append((values["step"], values["train/loss"]))
    return points


class Failing:
    """A tracker whose server is gone."""

    calls = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.calls += 1
        raise ConnectionError("no route to host")

    def flush(self) -> None:
        raise AssertionError("called after it failed")

    close = flush


def test_a_tracker_that_fails_is_off_and_the_run_continues(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing = Failing()
    trackers = Trackers({"mlflow": failing})
    with caplog.at_level(logging.WARNING):
        trackers.log(1, "train", {"loss": 1.0})
        trackers.log(2, "train", {"loss": 1.0})
        trackers.flush()
        trackers.close()
    assert failing.calls == 1
    assert "tracker mlflow failed" in caplog.text


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "finished"),
        (SystemExit, "killed"),
        (KeyboardInterrupt, "killed"),
        (OSError, "failed"),
    ],
)
def test_a_tracker_learns_how_a_run_ended(
    error: type[BaseException] | None,
    outcome: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[str] = []

    class Noting:
        def close(self, outcome: str) -> None:
            ends.append(outcome)

    monkeypatch.setattr("pyrobust.trackers._open", lambda *arguments: Noting())
    expected = nullcontext() if error is None else pytest.raises(error)
    with expected, open_trackers(("mlflow",), tmp_path, {}):
        if error is not None:
            raise error
    assert ends == [outcome]


def test_an_unknown_tracker_is_named() -> None:
    with pytest.raises(UserError, match="unknown tracker 'comet'; choose from: tensorboard"):
        parse_trackers("tensorboard,comet")


def test_a_missing_package_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    opened = open_trackers(("trackio",), tmp_path, {})
    with pytest.raises(UserError, match=r"pip install 'pyrobust\[trackio\]'"), opened:
        raise AssertionError("opened without its package")

"""Experiment trackers: TensorBoard, Weights & Biases, MLflow and trackio behind one interface.

TensorBoard writes into the run's folder. The others read server, project and credentials from
their own environment variables (WANDB_PROJECT and WANDB_MODE, MLFLOW_TRACKING_URI and
MLFLOW_EXPERIMENT_NAME, TRACKIO_DIR and TRACKIO_PROJECT). A tracker that fails later is switched
off with a warning: the results and the log of a run never depend on it.
"""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from pyrobust.errors import EXIT_RESUMABLE, UserError
from pyrobust.files import read_json, write_json

logger = logging.getLogger(__name__)

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]

DEFAULT_PROJECT = "pyrobust"
_RUN_IDS = "trackers.json"


Outcome = Literal["finished", "killed", "failed"]
"""How a run ended: killed is one that a signal or Ctrl-C interrupted, and that can resume."""


class Tracker(Protocol):
    """Receives the numbers of one run."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record `values`, such as {"train/loss": 0.5}, at `step`."""

    def flush(self) -> None:
        """Write out what is buffered."""

    def close(self, outcome: Outcome) -> None:
        """End the run."""


class Trackers:
    """All trackers of a run.

    Args:
        already_sent: (step, prefix) pairs that an earlier process sent to trackers which cannot
            take points back; a resumed run computes the same numbers and skips them.
    """

    def __init__(
        self,
        trackers: Mapping[TrackerName, Tracker],
        already_sent: frozenset[tuple[int, str]] = frozenset(),
    ) -> None:
        self._trackers = dict(trackers)
        self._already_sent = already_sent

    def log(self, step: int, prefix: str, values: Mapping[str, float]) -> None:
        """Record `values` at `step`, named prefix/key."""
        named = {f"{prefix}/{key}": value for key, value in values.items()}
        for name in list(self._trackers):
            # TensorBoard hid these points when it was opened.
            if name == "tensorboard" or (step, prefix) not in self._already_sent:
                self._call(name, lambda tracker: tracker.log(step, named))

    def flush(self) -> None:
        """Write out what is buffered."""
        for name in list(self._trackers):
            self._call(name, lambda tracker: tracker.flush())

    def close(self, outcome: Outcome = "finished") -> None:
        """End the run in every tracker."""
        for name in list(self._trackers):
            self._call(name, lambda tracker: tracker.close(outcome))

    def _call(self, name: TrackerName, action: Callable[[Tracker], None]) -> None:
        try:
            action(self._trackers[name])
        except Exception as error:  # each package has its own exceptions, network errors among them
            del self._trackers[name]
            logger.warning(
                "warning: tracker %s failed and is off for the rest of this run: %s", name, error
            )


@contextmanager
def open_trackers(
    names: Sequence[TrackerName],
    folder: Path,
    config: Mapping[str, Any],
    *,
    step: int = 0,
    already_sent: frozenset[tuple[int, str]] = frozenset(),
) -> Iterator[Trackers]:
    """Open trackers for the run whose results `folder` takes; they close with the block.

    Args:
        config: JSON values shown as the run's settings.
        step: where the run resumes; a run at step 0 is a new one in every tracker.
        already_sent: see `Trackers`.

    Raises:
        UserError: a tracker's package is missing, or it cannot start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids = _run_ids(folder, names, new=step == 0)
    opened: dict[TrackerName, Tracker] = {}
    try:
        for name in names:
            opened[name] = _open(name, folder, ids.get(name, ""), config, step)
    except BaseException:
        Trackers(opened).close("failed")
        raise
    trackers = Trackers(opened, already_sent)
    try:
        yield trackers
    except Exception:
        trackers.close("failed")
        raise
    except BaseException:  # a signal or Ctrl-C
        trackers.close("killed")
        raise
    trackers.close("finished")


def parse_trackers(text: str) -> tuple[TrackerName, ...]:
    """Return the trackers that "tensorboard,wandb" names; "" names none.

    Raises:
        UserError: one is unknown.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    known = get_args(TrackerName)
    for name in names:
        if name not in known:
            raise UserError(f"unknown tracker '{name}'; choose from: {', '.join(known)}")
    return names  # type: ignore[return-value]


def _run_ids(folder: Path, names: Sequence[TrackerName], new: bool) -> dict[str, str]:
    """Return one id per remote tracker, kept in the folder so that a resumed run finds its own."""
    remote = [name for name in names if name != "tensorboard"]
    path = folder / _RUN_IDS
    kept: dict[str, str] = {}
    if path.is_file() and not new:
        kept = read_json(path, "pyrobust train")
    ids = kept | {str(name): uuid.uuid4().hex for name in remote if name not in kept}
    if remote:
        write_json(path, ids)
    return ids


def _open(
    name: TrackerName, folder: Path, run_id: str, config: Mapping[str, Any], step: int
) -> Tracker:
    try:
        match name:
            case "tensorboard":
                return _TensorBoard(folder / "tensorboard", step)
            case "wandb":
                return _Wandb(folder, run_id, config)
            case "mlflow":
                return _Mlflow(folder, run_id, config)
            case "trackio":
                return _Trackio(folder, run_id, config)
    except ImportError as error:
        raise UserError(
            f"tracker '{name}' needs a package that is not installed ({error}): install it with "
            f"pip install 'pyrobust[{name}]'"
        ) from error
    except Exception as error:  # each package has its own exceptions
        raise UserError(
            f"tracker '{name}' could not start: {error}; fix its settings, or run without it"
        ) from error


class _TensorBoard:
    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if step == 0:
            shutil.rmtree(folder, ignore_errors=True)
        # Points after the saved state are hidden: the resumed run writes them again.
        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self, outcome: Outcome) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path, run_id: str, config: Mapping[str, Any]) -> None:
        wandb = import_module("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", DEFAULT_PROJECT),
            name=str(folder),
            id=run_id,
            resume="allow",
            dir=folder,
            config=dict(config),
        )
        # Our own axis: W&B's step may not fall, and the one of a resumed run does.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "step": step})

    def flush(self) -> None:
        pass  # its own process sends at once

    def close(self, outcome: Outcome) -> None:
        # W&B shows a run with another exit code than 0 as failed until it resumes.
        self._run.finish(exit_code={"finished": 0, "killed": EXIT_RESUMABLE, "failed": 1}[outcome])


class _Mlflow:
    def __init__(self, folder: Path, run_id: str, config: Mapping[str, Any]) -> None:
        client_type = import_module("mlflow.tracking").MlflowClient
        self._metric = import_module("mlflow.entities").Metric
        self._client = client_type()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", DEFAULT_PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = (
            experiment.experiment_id if experiment else self._client.create_experiment(name)
        )
        # MLflow chooses the ids of runs itself; ours is a tag by which the run is found again.
        found = self._client.search_runs([experiment_id], f"tags.pyrobust_run = '{run_id}'")
        if found:
            self._run_id = found[0].info.run_id
            self._client.update_run(self._run_id, status="RUNNING")
            return
        tags = {"pyrobust_run": run_id}
        self._run_id = self._client.create_run(
            experiment_id, run_name=str(folder), tags=tags
        ).info.run_id
        for key, value in config.items():
            text = value if isinstance(value, str) else json.dumps(value)
            self._client.log_param(self._run_id, key, text)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        metrics = [self._metric(key, value, 0, step) for key, value in values.items()]
        self._client.log_batch(self._run_id, metrics)

    def flush(self) -> None:
        pass  # every batch is sent at once

    def close(self, outcome: Outcome) -> None:
        self._client.set_terminated(self._run_id, status=outcome.upper())


class _Trackio:
    def __init__(self, folder: Path, run_id: str, config: Mapping[str, Any]) -> None:
        self._run = import_module("trackio").init(
            project=os.environ.get("TRACKIO_PROJECT", DEFAULT_PROJECT),
            # trackio finds a run again by its name.
            name=f"{folder} {run_id[:8]}",
            resume="allow",
            config=dict(config),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        pass  # its own thread writes at once

    def close(self, outcome: Outcome) -> None:
        self._run.finish()  # it has no state of a run

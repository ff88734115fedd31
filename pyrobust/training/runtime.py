"""Options that affect the speed of a run but not its result."""

import os
from dataclasses import dataclass

import torch

from pyrobust.memory import keep_freed_memory
from pyrobust.trackers import TrackerName
from pyrobust.training.loop import LoopSettings


@dataclass(frozen=True)
class Runtime:
    """Device, memory and safety of a run.

    Args:
        device: auto, cpu or cuda.
        resident_mb: stores up to this size stay on the device as one tensor; larger ones are read
            through memory maps.
        deterministic: whether CUDA uses deterministic algorithms only, so that a resumed run is
            bit-equal to an uninterrupted one. A CPU is deterministic for a number of threads.
        cuda_graph: whether the inner attack is launched as one CUDA graph.
    """

    device: str = "auto"
    resident_mb: int = 4096
    save_steps: int = 1000
    save_seconds: float = 120.0
    deterministic: bool = False
    trackers: tuple[TrackerName, ...] = ("tensorboard",)
    cuda_graph: bool = False

    def loop_settings(self, total_steps: int, batch_size: int, validations: int) -> LoopSettings:
        """Return the settings of a training loop in this runtime."""
        return LoopSettings(
            total_steps=total_steps,
            batch_size=batch_size,
            validations=validations,
            save_steps=self.save_steps,
            save_seconds=self.save_seconds,
            trackers=self.trackers,
        )

    def prepare(self) -> None:
        """Set the process-wide switches of memory and of torch."""
        keep_freed_memory()
        if self.deterministic:
            # cuBLAS reads this when it creates its first handle.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        else:
            torch.backends.cudnn.benchmark = True

"""Early stopping (appendix A): robust accuracy on the validation split, and the best weights.

The training loop validates at even intervals, keeps the averaged weights whenever `BEST_BY` is at
least as high as before, and trains to the end; the weights kept last are the result of the run.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks import FixedPasses, LogitsFn
from pyrobust.attacks.pgd import AscentSettings, pgd
from pyrobust.attacks.threat_model import is_broken
from pyrobust.data.store import SampleStore
from pyrobust.models import ImageClassifier
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loop import Metrics

# The metric that decides which weights are kept.
BEST_BY = "robust_accuracy"

# Images per pass. During an attack, fewer and fewer images remain robust; with passes of one size,
# an image's result does not depend on the others, and cuDNN searches for its fastest kernels once.
_PASS_SIZE = 64

_KEPT = "kept."


class RobustValidation:
    """Measures clean and robust accuracy on the images of a store, under PGD.

    Args:
        batch_size: images attacked at once; several processes divide the images among them.
        num_images: attack only the first images of the store, this many; all if None.
    """

    def __init__(
        self,
        store: SampleStore,
        attack: AscentSettings,
        batch_size: int,
        seed: int,
        processes: Processes,
        num_images: int | None = None,
    ) -> None:
        device = processes.device
        count = store.count if num_images is None else min(num_images, store.count)
        self._images = torch.from_numpy(store.gather(np.arange(count))).to(device)
        self._labels = torch.from_numpy(store.labels()[:count]).to(device)
        self._attack, self._batch_size, self._seed = attack, batch_size, seed
        self._processes = processes

    def __call__(
        self, model: ImageClassifier, stopping: Callable[[], bool] = lambda: False
    ) -> Metrics | None:
        """Return `clean_accuracy` and `robust_accuracy`; None if `stopping` turned true."""

        def logits(x: Tensor) -> Tensor:
            if stopping():
                raise _StoppedError
            return model(x)  # type: ignore[no-any-return]

        processes, count = self._processes, len(self._labels)
        # Images classified correctly, those also robust, processes that stopped.
        totals = torch.zeros(3, device=processes.device)
        mine = torch.arange(count, device=totals.device)[processes.rank :: processes.world_size]
        try:
            for start in range(0, len(mine), self._batch_size):
                ids = mine[start : start + self._batch_size]
                totals[:2] += self._count_correct(FixedPasses(logits, _PASS_SIZE), ids)
        except _StoppedError:
            totals[2] += 1
        clean, robust, stopped = processes.sum(totals).tolist()
        if stopped:
            return None
        return {"clean_accuracy": clean / count, "robust_accuracy": robust / count}

    def _count_correct(self, logits_fn: LogitsFn, ids: Tensor) -> Tensor:
        x = ops.gather_augment(self._images, ids, ids, seed=0, epoch=0, padding=0, flip=False)
        labels = self._labels[ids]
        x_adv = pgd(logits_fn, x, labels, ids, self._attack, self._seed)
        with torch.no_grad():
            clean = ~is_broken(logits_fn(x), labels)
            # An image that is misclassified without an attack is not robust.
            robust = clean & ~is_broken(logits_fn(x_adv), labels)
        return torch.stack([clean.sum(), robust.sum()])


def copy_to_host(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a copy of a state dict on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in weights.items()}


class BestWeights:
    """The best weights so far, a state dict on the CPU; empty before the first validation."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def keep(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the weights by a copy of a state dict."""
        self.weights = copy_to_host(weights)

    def state(self) -> dict[str, Tensor]:
        """Return the weights for the saved state of the run."""
        return {f"{_KEPT}{name}": value for name, value in self.weights.items()}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `state` returned."""
        self.weights = {
            name.removeprefix(_KEPT): value.cpu()
            for name, value in tensors.items()
            if name.startswith(_KEPT)
        }


class _StoppedError(Exception):
    """The run was asked to stop."""

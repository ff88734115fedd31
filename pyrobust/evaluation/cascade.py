"""Run cascades of attacks over batches of images; an interrupted run resumes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrobust.attacks import LogitsFn
from pyrobust.attacks.threat_model import PerturbationSet
from pyrobust.evaluation.attack_stages import Cascade, Stage, searched
from pyrobust.evaluation.labelled_images import Rows
from pyrobust.evaluation.outcomes import Outcome

# Rows of a batch -> images (N, C, H, W) in [0, 1] and labels (N,) int64.
LoadBatch = Callable[[Rows], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class CascadeRun:
    """All that the attacks of one evaluation have in common.

    Args:
        logits_fn: the plain network, which judges every point.
        search_fn: what attacks pass through: the same, or a faster stand-in.
        folder: of the state, which belongs to this model, these images and these settings.
        order: ids of the images; `rows` are places in it. None for their own order.
    """

    logits_fn: LogitsFn
    search_fn: LogitsFn
    threat: PerturbationSet
    load: LoadBatch
    folder: Path
    keep_adversarial: bool
    order: NDArray[np.int64] | None = None

    def attack(
        self,
        cascade: Cascade,
        rows: range,
        advance: Callable[[int], None],
        among: NDArray[np.bool_] | None = None,
    ) -> Outcome:
        """Return the outcome of the images at `rows` under all stages of a cascade.

        It is saved after every stage; stages that an earlier run saved are not run again.

        Args:
            advance: called with the number of images that completed one more stage.
            among: which of the images are attacked, (n,); all where not given.
        """
        path = self.folder / f"{cascade.name}-{rows.start:08d}.npz"
        saved = Outcome.load(path)
        if saved and len(saved.broken_by) != len(rows):  # a batch of another size
            saved = None
        if saved and saved.stages_done == len(cascade.stages):
            advance(len(rows) * saved.stages_done)
            return saved
        own = np.array(rows) if self.order is None else self.order[rows.start : rows.stop]
        x, labels = self.load(rows if self.order is None else own)
        ids = torch.from_numpy(own).to(x.device)
        outcome = saved or Outcome.before_attack(self.logits_fn, x, labels, self.keep_adversarial)
        chosen = np.ones(len(rows), dtype=bool) if among is None else among
        advance(len(rows) * outcome.stages_done)
        for stage in cascade.stages[outcome.stages_done :]:
            started = time.monotonic()
            places = np.flatnonzero(outcome.standing & chosen)
            here = torch.from_numpy(places).to(x.device)
            x_adv = self._run(stage, x[here], labels[here], ids[here])
            seconds = time.monotonic() - started
            outcome.judge(
                places, self.logits_fn, x[here], labels[here], x_adv, self.threat, seconds
            )
            outcome.save(path)
            advance(len(rows))
        return outcome

    def _run(self, stage: Stage, x: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
        """Return the points that one stage finds for standing images x (n, C, H, W)."""
        if not len(x):
            return x
        if self.search_fn == self.logits_fn:
            return stage.run(self.logits_fn, x, labels, ids)
        return searched(stage, self.search_fn, self.logits_fn, x, labels, ids)

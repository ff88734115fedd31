"""Training on interval bounds (Gowal et al. 2018), for networks that can be certified."""

import torch
from torch import Tensor

from pyrobust.certificates.graph_reader import graph_of
from pyrobust.certificates.interval import Bounds, interval_bounds
from pyrobust.config.radius import parse_epsilon
from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError
from pyrobust.models.batch_norm import recorded_statistics
from pyrobust.training.loader import TrainingBatch
from pyrobust.training.objectives.objective import Loss, Objective, accuracy
from pyrobust.training.objectives.passes import Passes
from pyrobust.training.schedules import count_steps


class IntervalBoundPropagation(Objective):
    """Mean κ · CE(z, y) + (1 - κ) · CE(ẑ, y) (their Eq. 12).

    ẑ are the worst logits that interval bounds allow: the lower bound of the label's and the
    upper bounds of all others. Once the learning rate has risen (`warmup`), the radius rises
    linearly from 0 to epsilon and κ falls from 1 to `ibp_kappa`, both over `ibp_ramp` of the steps.
    Batch norm normalises bounds by the statistics of the clean batch, as in CROWN-IBP (Zhang et
    al. 2020), whose gradient is kept.
    """

    metric_names = ("loss", "clean_loss", "robust_loss", "clean_accuracy", "certified_accuracy")

    def __init__(self, settings: TrainSettings) -> None:
        if settings.norm != "linf":
            raise UserError(f"objective ibp trains for linf, but norm is '{settings.norm}'")
        if settings.virtual_batch:
            raise UserError(
                f"virtual_batch is {settings.virtual_batch}, but objective ibp normalises "
                "bounds by the whole batch: set it to 0"
            )
        self._epsilon, self._kappa = parse_epsilon(settings.epsilon), settings.ibp_kappa
        steps = count_steps(settings)
        self._start, self._length = settings.warmup * steps, max(settings.ibp_ramp * steps, 1)

    def attack(self, batch: TrainingBatch, passes: Passes) -> Tensor:
        """Return the clean images: bounds hold for all perturbations at once."""
        return batch.x

    def ramp(self, step: int) -> float:
        """Return the share of epsilon, and of the fall of κ, at a step; from 0 to 1."""
        return min(max((step - self._start) / self._length, 0.0), 1.0)

    def loss(self, batch: TrainingBatch, x_adv: Tensor, passes: Passes) -> Loss:
        """Return κ · CE(z, y) + (1 - κ) · CE(ẑ, y)."""
        network = passes.network
        share = self.ramp(passes.step)
        epsilon, kappa = share * self._epsilon, 1 - share * (1 - self._kappa)
        with recorded_statistics(network) as statistics:
            logits = passes.logits(x_adv, tracked=True)
        # Read in each step, since a graph holds the weights of the time at which it was read.
        graph = graph_of(network, x_adv[:1].detach(), dtype=None, statistics=statistics)
        box = Bounds((x_adv - epsilon).clamp(0, 1), (x_adv + epsilon).clamp(0, 1))
        bounds = interval_bounds(graph, box)
        is_label = torch.zeros_like(logits, dtype=torch.bool)
        is_label[torch.arange(len(logits), device=logits.device), batch.labels] = True
        worst = torch.where(is_label, bounds.lower, bounds.upper)
        clean_loss, robust_loss = (
            -(batch.target_probs * values.log_softmax(1)).sum(1).mean()
            for values in (logits, worst)
        )
        return Loss.of(
            kappa * clean_loss + (1 - kappa) * robust_loss,
            clean_loss=clean_loss,
            robust_loss=robust_loss,
            clean_accuracy=accuracy(logits, batch.labels),
            certified_accuracy=accuracy(worst, batch.labels),
        )

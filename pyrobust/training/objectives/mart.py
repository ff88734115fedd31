"""MART, misclassification-aware adversarial training (Wang et al. 2020)."""

import torch.nn.functional as F
from torch import Tensor

from pyrobust.config.training import TrainSettings
from pyrobust.training.loader import TrainingBatch
from pyrobust.training.objectives.objective import Loss, Objective, accuracy
from pyrobust.training.objectives.passes import Passes

# Keeps log(1 - p) finite, as in the authors' code.
_ABOVE_ONE = 1.0001


class Mart(Objective):
    """Mean BCE(p(x̂), y) + λ · KL(p(x) ‖ p(x̂)) · (1 - p_y(x)) (their Eq. 11).

    BCE is the boosted cross-entropy, -log p_y - log(1 - max_{k≠y} p_k); where labels are smoothed,
    its first term is the cross-entropy to the smoothed label.
    """

    metric_names = ("loss", "boosted_loss", "robust_loss", "clean_accuracy", "robust_accuracy")

    def __init__(self, settings: TrainSettings) -> None:
        self._lambda = settings.mart_lambda
        self._tracks_clean = settings.batch_norm_updates == "both"
        self.tracked_passes = 2 if self._tracks_clean else 1

    def attack(self, batch: TrainingBatch, passes: Passes) -> Tensor:
        """Maximise the cross-entropy to the labels."""
        return passes.attack(batch, batch.labels)

    def loss(self, batch: TrainingBatch, x_adv: Tensor, passes: Passes) -> Loss:
        """Return BCE + λ · KL · (1 - p_y(x))."""
        clean = passes.clean(batch, tracked=self._tracks_clean)
        adversarial = passes.logits(x_adv, tracked=True)
        y = batch.labels[:, None]
        log_p, log_p_adv = clean.log_softmax(1), adversarial.log_softmax(1)
        strongest_other = log_p_adv.exp().scatter(1, y, 0).amax(1)
        cross_entropy = -(batch.target_probs * log_p_adv).sum(1)
        bce = cross_entropy - (_ABOVE_ONE - strongest_other).log()
        kl = F.kl_div(log_p_adv, log_p, reduction="none", log_target=True).sum(1)
        weighted = kl * (1 - log_p.exp().gather(1, y)[:, 0])
        return Loss.of(
            (bce + self._lambda * weighted).mean(),
            boosted_loss=bce.mean(),
            robust_loss=weighted.mean(),
            clean_accuracy=accuracy(clean, batch.labels),
            robust_accuracy=accuracy(adversarial, batch.labels),
        )

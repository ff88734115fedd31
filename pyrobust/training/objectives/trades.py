"""TRADES (Zhang et al. 2019, Eq. 5) as the paper's authors train (appendix A).

The clean logits serve twice: their softmax is the target of the attack, and their graph is that
of the clean term of the loss. Public code computes them twice; nothing changes in between, so one
pass gives the same numbers. With 10 inner steps that leaves 26 forward passes' worth of work:
1 clean, 10 × 2 in the attack, 1 adversarial, 2 × 2 backward.
"""

from torch import Tensor

from pyrobust import ops
from pyrobust.config.training import TrainSettings
from pyrobust.training.loader import TrainingBatch
from pyrobust.training.objectives.objective import Loss, Objective, accuracy
from pyrobust.training.objectives.passes import Passes


class Trades(Objective):
    """Mean CE(f(x), y) + β · mean KL(f(x) ‖ f(x')), with gradients through both arguments."""

    metric_names = ("loss", "clean_loss", "robust_loss", "clean_accuracy", "robust_accuracy")

    def __init__(self, settings: TrainSettings) -> None:
        self._beta = settings.trades_beta
        self._tracks_clean = settings.batch_norm_updates == "both"
        self.tracked_passes = 2 if self._tracks_clean else 1

    def attack(self, batch: TrainingBatch, passes: Passes) -> Tensor:
        """Maximise KL(f(x) ‖ f(x')), the cross-entropy to f(x) up to a constant."""
        return passes.attack(batch, self._clean(batch, passes).detach().softmax(1))

    def loss(self, batch: TrainingBatch, x_adv: Tensor, passes: Passes) -> Loss:
        """Return CE + β · KL."""
        clean_logits = self._clean(batch, passes)
        adversarial_logits = passes.logits(x_adv, tracked=True)
        clean, adversarial = clean_logits.detach(), adversarial_logits.detach()
        clean_loss, grad_clean = ops.cross_entropy(clean, batch.target_probs)
        robust_loss, grad_clean_kl, grad_adversarial = ops.trades_kl(clean, adversarial)
        beta, count = self._beta, len(clean)
        return Loss(
            outputs=(clean_logits, adversarial_logits),
            gradients=(
                grad_clean.add_(grad_clean_kl, alpha=beta).div_(count),
                grad_adversarial.mul_(beta / count),
            ),
            metrics={
                "loss": (clean_loss + beta * robust_loss).mean(),
                "clean_loss": clean_loss.mean(),
                "robust_loss": robust_loss.mean(),
                "clean_accuracy": accuracy(clean, batch.labels),
                "robust_accuracy": accuracy(adversarial, batch.labels),
            },
        )

    def _clean(self, batch: TrainingBatch, passes: Passes) -> Tensor:
        return passes.clean(batch, tracked=self._tracks_clean)

"""Cross-entropy: on clean images for the labeller, on attacked ones for adversarial training."""

from torch import Tensor

from pyrobust import ops
from pyrobust.config.training import TrainSettings
from pyrobust.training.loader import TrainingBatch
from pyrobust.training.objectives.objective import Loss, Objective, accuracy
from pyrobust.training.objectives.passes import Passes


class CrossEntropy(Objective):
    """Mean CE(f(x), y): standard training, as the labeller's (section 3.3)."""

    metric_names = ("loss", "accuracy")

    def attack(self, batch: TrainingBatch, passes: Passes) -> Tensor:
        """Return the clean images."""
        return batch.x

    def loss(self, batch: TrainingBatch, x_adv: Tensor, passes: Passes) -> Loss:
        """Return the cross-entropy to the smoothed labels."""
        logits = passes.logits(x_adv, tracked=True)
        loss, grad_logits = ops.cross_entropy(logits.detach(), batch.target_probs)
        correct = accuracy(logits, batch.labels)
        metrics = dict(zip(self.metric_names, (loss.mean(), correct), strict=True))
        return Loss((logits,), (grad_logits.div_(len(logits)),), metrics)


class AdversarialTraining(CrossEntropy):
    """Mean max CE(f(x'), y) over the perturbation set (Madry et al. 2018, Eq. 2.1)."""

    metric_names = ("loss", "robust_accuracy")

    def __init__(self, settings: TrainSettings) -> None:
        """Take no parameter: the loss has none."""

    def attack(self, batch: TrainingBatch, passes: Passes) -> Tensor:
        """Maximise the cross-entropy to the labels."""
        return passes.attack(batch, batch.labels)

"""One step of TRADES (Zhang et al. 2019) as the paper's authors train (appendix A).

The clean logits serve twice: their softmax is the target of the attack, and their graph is that
of the clean term of the loss. Public code computes them twice; nothing changes in between, so one
pass gives the same numbers. With 10 inner steps that leaves 26 forward passes' worth of work:
1 clean, 10 × 2 in the attack, 1 adversarial, 2 × 2 backward."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.inner_attack import TradesAttackSettings, make_ascent, trades_start
from pyrobust.attacks.threat_model import is_broken
from pyrobust.models import ImageClassifier, batch_statistics, logits_in, tracked_statistics
from pyrobust.models.batch_norm import running_momentum, running_statistics
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loader import Loader
from pyrobust.training.schedules import Schedule, averaging_decay_at
from pyrobust.training.weight_averaging import AveragedSgd


@dataclass(frozen=True)
class TradesSettings:
    """What a step needs beside the batch.

    Args:
        beta: weight of the robust term.
        batch_norm_updates: adversarial, or both: which passes move the running statistics.
        averaging_start: first step whose average is more than a copy.
        compiled_attack, cuda_graph: see `make_ascent`.
    """

    attack: TradesAttackSettings
    beta: float
    batch_norm_updates: str
    averaging_decay: float
    averaging_start: int
    precision: str
    seed: int
    compiled_attack: bool = False
    cuda_graph: bool = False


METRICS = ("loss", "clean_loss", "robust_loss", "clean_accuracy", "robust_accuracy")


class TradesStep:
    """Makes the update of step t from batch t.

    It returns means over the batch, (5,) float32, in the order of METRICS; the accuracies are
    those of the network in training, on batch statistics.
    """

    def __init__(
        self,
        model: ImageClassifier,
        optimizer: AveragedSgd,
        loader: Loader,
        schedule: Schedule,
        settings: TradesSettings,
        processes: Processes,
    ) -> None:
        self._model, self._optimizer, self._loader = model, optimizer, loader
        self._schedule, self._settings, self._processes = schedule, settings, processes
        self._logits = logits_in(settings.precision, model)
        self._statistics = running_statistics(model)
        self._ascend = make_ascent(
            model,
            self._logits,
            settings.attack,
            compiled=settings.compiled_attack,
            cuda_graph=settings.cuda_graph,
        )

    def __call__(self, step: int) -> Tensor:
        """Make update `step`, counted from 0."""
        settings = self._settings
        batch = self._loader.batch(step)
        clean_logits = self._clean_logits(batch.x, step)
        threat = settings.attack.threat
        start = trades_start(batch.x, batch.positions, threat, settings.seed, step)
        with batch_statistics(self._model):
            x_adv = self._ascend(start, batch.x, clean_logits.detach().softmax(1))
        with tracked_statistics(self._model, self._momentum(step, last=True)):
            adversarial_logits = self._logits(x_adv)
        metrics = self._backward(clean_logits, adversarial_logits, batch.target_probs, batch.labels)
        self._processes.average_([*self._optimizer.gradients(), *self._statistics, metrics])
        self._optimizer.step(
            self._schedule.learning_rate(step),
            self._schedule.momentum_at(step),
            averaging_decay_at(step, settings.averaging_decay, settings.averaging_start),
        )
        return metrics

    def _clean_logits(self, x: Tensor, step: int) -> Tensor:
        if self._settings.batch_norm_updates == "both":
            with tracked_statistics(self._model, self._momentum(step, last=False)):
                return self._logits(x)
        with batch_statistics(self._model):
            return self._logits(x)

    def _momentum(self, step: int, last: bool) -> float:
        """Return the share of the next pass in the running statistics."""
        if self._settings.batch_norm_updates == "both":
            return running_momentum(2 * step + (2 if last else 1))
        return running_momentum(step + 1)

    def _backward(
        self, clean_logits: Tensor, adversarial_logits: Tensor, target_probs: Tensor, labels: Tensor
    ) -> Tensor:
        """Backpropagate mean CE(clean) + beta × mean KL(clean || adversarial)."""
        clean, adversarial = clean_logits.detach(), adversarial_logits.detach()
        clean_loss, grad_clean = ops.cross_entropy(clean, target_probs)
        robust_loss, grad_clean_kl, grad_adversarial = ops.trades_kl(clean, adversarial)
        beta, count = self._settings.beta, len(clean)
        torch.autograd.backward(
            [clean_logits, adversarial_logits],
            [
                grad_clean.add_(grad_clean_kl, alpha=beta).div_(count),
                grad_adversarial.mul_(beta / count),
            ],
        )
        return torch.stack(
            [
                (clean_loss + beta * robust_loss).mean(),
                clean_loss.mean(),
                robust_loss.mean(),
                (~is_broken(clean, labels)).float().mean(),
                (~is_broken(adversarial, labels)).float().mean(),
            ]
        )

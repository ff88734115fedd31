"""One TRADES step of either recipe in plain PyTorch: torch.optim, torch's losses, no core.

The operators' twins of tests/reference.py move the attack; crops and starts are drawn by the core.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.config.fields import parse_epsilon
from pyrobust.config.training import TrainSettings
from pyrobust.models import ModelSpec, batch_statistics, tracked_statistics
from pyrobust.models.batch_norm import running_momentum
from pyrobust.training.classifier import TrainingInputs, new_model
from pyrobust.training.train_robust import plan_batches
from tests import reference


class PlainTrades:
    """The authors' step (`gowal21`) or that of Wang et al. (`wang23`), as the settings say."""

    def __init__(self, inputs: TrainingInputs, spec: ModelSpec, settings: TrainSettings) -> None:
        self.inputs, self.settings = inputs, settings
        self.plan = plan_batches(inputs, settings)
        device = torch.device("cpu")
        self.model = new_model(spec, settings.seed, settings.zero_logits, False, device)
        norms = [layer for layer in self.model.modules() if isinstance(layer, nn.BatchNorm2d)]
        spared = [parameter for layer in norms for parameter in layer.parameters()]
        others = [p for p in self.model.parameters() if all(p is not q for q in spared)]
        groups: list[dict[str, Any]] = [
            {"params": spared, "weight_decay": 0.0},
            {"params": others, "weight_decay": settings.weight_decay},
        ]
        self.optimizer = torch.optim.SGD(groups, lr=1, momentum=0.9, nesterov=True)
        self.averages = [p.detach().clone() for p in self.model.parameters()]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return images and smoothed targets."""
        chosen = self.plan.batch(step)
        stores = (self.inputs.dataset.train, self.inputs.generated)
        images, targets = [], []
        for source, row in zip(chosen.generated.tolist(), chosen.index.tolist(), strict=True):
            store = stores[source]
            assert store is not None
            images.append(torch.from_numpy(store.images()[row]))
            one_hot = F.one_hot(torch.tensor(store.labels()[row]), 10).float()
            smooth = source or self.settings.label_smoothing_on == "all"
            targets.append(0.9 * one_hot + 0.01 if smooth else one_hot)
        positions = torch.from_numpy(chosen.positions)
        rows = torch.arange(len(images))
        padding, flip = self.inputs.augmentation.padding, self.inputs.augmentation.flip
        x = ops.gather_augment(
            torch.stack(images), rows, positions, self.settings.seed, step, padding, flip
        )
        return x, torch.stack(targets)

    def step(self, step: int, rate: float, momentum: float, decay: float) -> list[float]:
        """Make an update and return the loss and its two terms."""
        model, both = self.model, self.settings.batch_norm_updates == "both"
        x, targets = self.batch(step)
        with batch_statistics(model):
            probs = model(x).softmax(1).detach()
            x_adv = self.attack(x, probs, step)
        first = running_momentum(2 * step + 1 if both else step + 1)
        with tracked_statistics(model, first) if both else batch_statistics(model):
            clean = model(x)
        last = running_momentum(2 * step + 2) if both else first
        with tracked_statistics(model, last):
            adversarial = model(x_adv)
        clean_loss = -(targets * clean.log_softmax(1)).sum(1).mean()
        robust_loss = F.kl_div(adversarial.log_softmax(1), clean.softmax(1), reduction="batchmean")
        loss = clean_loss + self.settings.trades_beta * robust_loss
        self.optimizer.zero_grad()
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"], group["momentum"] = rate, momentum
        self.optimizer.step()
        for average, parameter in zip(self.averages, model.parameters(), strict=True):
            average.mul_(decay).add_(parameter.detach(), alpha=1 - decay)
        return [loss.item(), clean_loss.item(), robust_loss.item()]

    def attack(self, x: Tensor, probs: Tensor, step: int) -> Tensor:
        """Return the end of the inner attack on the statistics that the model is set to."""
        settings = self.settings
        norm, epsilon = settings.norm, parse_epsilon(settings.epsilon)
        size, count = parse_epsilon(settings.attack_step_size), settings.attack_steps
        x_adv = ops.random_start(x, torch.arange(len(x)), epsilon, norm, settings.seed, step)
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        for inner in range(count):
            x_adv = x_adv.detach().requires_grad_()
            loss = -(probs * self.model(x_adv).log_softmax(1)).sum()
            (grad,) = torch.autograd.grad(loss, x_adv)
            point = x_adv.detach()
            if settings.attack_optimizer == "steepest":
                x_adv = reference.step(point, x, grad, size, epsilon, norm)
                continue
            rate = size if inner < count / 2 else size / 10
            x_adv, first, second = reference.adam_step(
                point, x, grad, first, second, inner + 1, rate, epsilon, norm
            )
        return x_adv.detach()

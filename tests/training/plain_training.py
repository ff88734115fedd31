"""A training step in plain PyTorch: torch.optim, torch's losses, autograd; no core, no objectives.

The operators' twins of tests/reference.py move the attack; crops and starts are drawn by the core.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.config.radius import parse_epsilon
from pyrobust.config.training import TrainSettings
from pyrobust.models import ModelSpec, batch_statistics, tracked_statistics
from pyrobust.models.batch_norm import running_momentum
from pyrobust.training.classifier import TrainingInputs, new_model
from pyrobust.training.train_robust import plan_batches
from tests import reference


class PlainTraining:
    """The step of the recipe and the objective that the settings name."""

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

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return images, labels and smoothed targets."""
        chosen = self.plan.batch(step)
        stores = (self.inputs.dataset.train, self.inputs.generated)
        images, labels, targets = [], [], []
        for source, row in zip(chosen.generated.tolist(), chosen.index.tolist(), strict=True):
            store = stores[source]
            assert store is not None
            images.append(torch.from_numpy(store.images()[row]))
            labels.append(torch.tensor(store.labels()[row]))
            one_hot = F.one_hot(labels[-1], 10).float()
            smooth = source or self.settings.label_smoothing_on == "all"
            targets.append(0.9 * one_hot + 0.01 if smooth else one_hot)
        positions = torch.from_numpy(chosen.positions)
        rows = torch.arange(len(images))
        padding, flip = self.inputs.augmentation.padding, self.inputs.augmentation.flip
        x = ops.gather_augment(
            torch.stack(images), rows, positions, self.settings.seed, step, padding, flip
        )
        return x, torch.stack(labels), torch.stack(targets)

    def step(self, step: int, rate: float, momentum: float, decay: float) -> list[float]:
        """Make an update and return the loss and its terms."""
        x, labels, targets = self.batch(step)
        with batch_statistics(self.model):
            if self.settings.objective == "trades":
                probs = self.model(x).softmax(1).detach()
            else:
                probs = F.one_hot(labels, 10).float()
            x_adv = self.attack(x, probs, step)
        weights = [p for p in self.model.parameters() if p.dim() > 1]
        kept = [w.detach().clone() for w in weights]
        self.optimizer.zero_grad()
        if self.settings.awp_gamma:
            with batch_statistics(self.model):
                terms = self.terms(self.model(x), self.model(x_adv), labels, targets)
            gradients = torch.autograd.grad(self.mean_loss(terms), weights, allow_unused=True)
            for weight, gradient in zip(weights, gradients, strict=True):
                if gradient is not None and gradient.norm() > 0:
                    length = self.settings.awp_gamma * weight.detach().norm()
                    weight.data += length * gradient / gradient.norm()
        terms = self.terms(*self.tracked_passes(x, x_adv, step), labels, targets)
        loss = self.mean_loss(terms)
        loss.backward()
        for weight, old in zip(weights, kept, strict=True):
            weight.data = old
        for group in self.optimizer.param_groups:
            group["lr"], group["momentum"] = rate, momentum
        self.optimizer.step()
        for average, parameter in zip(self.averages, self.model.parameters(), strict=True):
            average.mul_(decay).add_(parameter.detach(), alpha=1 - decay)
        return [loss.item(), *(term.item() for term in terms if len(terms) > 1)]

    def tracked_passes(self, x: Tensor, x_adv: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return clean and adversarial logits; the running statistics move as the recipe says."""
        model, both = self.model, self.settings.batch_norm_updates == "both"
        first = running_momentum(2 * step + 1 if both else step + 1)
        with tracked_statistics(model, first) if both else batch_statistics(model):
            clean = model(x)
        last = running_momentum(2 * step + 2) if both else first
        with tracked_statistics(model, last):
            return clean, model(x_adv)

    def terms(
        self, clean: Tensor, adversarial: Tensor, labels: Tensor, targets: Tensor
    ) -> list[Tensor]:
        """Return the terms of the loss, as the papers' code writes them."""
        if self.settings.objective == "trades":
            clean_loss = -(targets * clean.log_softmax(1)).sum(1).mean()
            kl = F.kl_div(adversarial.log_softmax(1), clean.softmax(1), reduction="batchmean")
            return [clean_loss, kl]
        cross_entropy = F.cross_entropy(adversarial, targets)
        if self.settings.objective == "adversarial_training":
            return [cross_entropy]
        # github.com/YisenWang/MART, mart.py
        adv_probs, nat_probs = F.softmax(adversarial, dim=1), F.softmax(clean, dim=1)
        top = torch.argsort(adv_probs, dim=1)[:, -2:]
        new_y = torch.where(top[:, -1] == labels, top[:, -2], top[:, -1])
        loss_adv = cross_entropy + F.nll_loss(torch.log(1.0001 - adv_probs + 1e-12), new_y)
        true_probs = torch.gather(nat_probs, 1, labels[:, None]).squeeze()
        kl = F.kl_div(torch.log(adv_probs + 1e-12), nat_probs, reduction="none").sum(1)
        return [loss_adv, (kl * (1.0000001 - true_probs)).mean()]

    def mean_loss(self, terms: list[Tensor]) -> Tensor:
        """Return the weighted sum of the terms."""
        settings = self.settings
        weight = settings.trades_beta if settings.objective == "trades" else settings.mart_lambda
        return terms[0] + weight * terms[1] if len(terms) == 2 else terms[0]

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

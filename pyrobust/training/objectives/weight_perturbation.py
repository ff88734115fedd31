"""AWP, adversarial weight perturbation (Wu et al. 2020), around any objective."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pyrobust.training.loader import TrainingBatch
from pyrobust.training.objectives.objective import Loss, Objective
from pyrobust.training.objectives.passes import Passes

# Keeps a layer without gradient where it is.
_TINY = 1e-20


class WeightPerturbation(Objective):
    """min over w of max over v of ρ(w + v), with ‖v_l‖ ≤ γ‖w_l‖ in each layer l (their Eq. 7).

    As in the authors' code, the images are attacked at w, and one ascent step to the boundary
    gives v_l = γ‖w_l‖ · ∇ρ_l / ‖∇ρ_l‖ for the weights of convolutions and linear layers. The update
    is made at w from the gradient at w + v; weight decay acts on w.
    """

    def __init__(self, objective: Objective, gamma: float) -> None:
        self._objective, self._gamma = objective, gamma
        self.metric_names = objective.metric_names  # type: ignore[misc]
        self.tracked_passes = objective.tracked_passes

    def attack(self, batch: TrainingBatch, passes: Passes) -> Tensor:
        """Attack as the objective does."""
        return self._objective.attack(batch, passes)

    def loss(self, batch: TrainingBatch, x_adv: Tensor, passes: Passes) -> Loss:
        """Return the objective's loss."""
        return self._objective.loss(batch, x_adv, passes)

    def backward(self, batch: TrainingBatch, passes: Passes) -> Mapping[str, Tensor]:
        """Add the gradients at w + v to those of the parameters, and return the metrics there."""
        with passes.untracked():
            x_adv = self.attack(batch, passes)
            gradients = self.loss(batch, x_adv, passes).gradients_of(passes.weights)
        passes.average_(gradients)  # all processes shift by the same v
        with passes.shifted(self._perturbation(passes, gradients)):
            loss = self.loss(batch, x_adv, passes)
            loss.backward()
        return loss.metrics

    @torch.no_grad()
    def _perturbation(self, passes: Passes, gradients: list[Tensor]) -> list[Tensor]:
        """Return v, layer by layer."""
        lengths = zip(
            torch._foreach_norm(passes.weights), torch._foreach_norm(gradients), strict=True
        )
        scales = [self._gamma * weight / (gradient + _TINY) for weight, gradient in lengths]
        return list(torch._foreach_mul(gradients, scales))

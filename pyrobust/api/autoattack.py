"""A drop-in for the class `AutoAttack` of the packages autoattack and pyautoattack."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pyrobust.api.evaluation import EvaluationResult, evaluate
from pyrobust.errors import UserError

_NORMS = ("linf", "l2", "l1")


class AutoAttack:
    """AutoAttack, standard version (Croce and Hein 2020), with the arguments of its authors.

    The same four attacks run in the same order. Each image has its own random numbers, so its
    result does not depend on the batch.

    Args:
        model: maps images (N, C, H, W) in [0, 1] to logits (N, K).
        norm: Linf, L2 or L1.
        eps: radius.
        seed: of all attacks; None means 0, so that a run can be repeated.
        verbose: whether to print the accuracy after each attack.
        version: standard.
        device: of the images that attacks compute on.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Tensor],
        norm: str = "Linf",
        eps: float = 0.3,
        seed: int | None = None,
        verbose: bool = True,
        version: str = "standard",
        device: str | torch.device = "auto",
    ) -> None:
        if version != "standard":
            raise UserError(f"version is '{version}', expected 'standard'")
        if norm.lower() not in _NORMS:
            raise UserError(f"norm is '{norm}', expected 'Linf', 'L2' or 'L1'")
        self.model = model
        self.norm, self.eps, self.seed = norm.lower(), eps, seed or 0
        self.verbose, self.device = verbose, device
        self.result: EvaluationResult | None = None

    def run_standard_evaluation(
        self,
        x_orig: Tensor,
        y_orig: Tensor,
        bs: int = 250,
        return_labels: bool = False,
        *,
        batch_size: int | None = None,
    ) -> Any:
        """Return adversarial images (N, C, H, W), and their predictions where asked for.

        Images that were misclassified or that no attack broke are returned unchanged or as their
        worst point; `result` holds accuracies, intervals and rows.

        Args:
            x_orig: (N, C, H, W) in [0, 1].
            y_orig: (N,) integers.
            bs, batch_size: images attacked together, as autoattack and pyautoattack call it.
        """
        self.result = evaluate(
            self.model,
            x_orig,
            y_orig,
            norm=self.norm,
            epsilon=self.eps,
            attack="autoattack",
            seed=self.seed,
            device=str(self.device).removesuffix(":0"),
            batch_size=batch_size or bs,
        )
        if self.verbose:
            print(f"initial accuracy: {self.result.clean_accuracy:.2%}")
            for stage in self.result.stages:
                print(f"robust accuracy after {stage['name']}: {stage['robust_accuracy']:.2%}")
        x_adv = self.result.adversarial.to(x_orig.device)
        if not return_labels:
            return x_adv
        labels = torch.from_numpy(self.result.rows["adversarial_prediction"].to_numpy().copy())
        return x_adv, labels.to(y_orig.device)

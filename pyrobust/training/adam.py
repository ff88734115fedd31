"""Adam on one network, with a state that a killed run resumes from."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pyrobust.training.data_parallel import Processes

_NETWORK, _MOMENTS = "network.", "adam."


class AdamUpdate:
    """Updates a network from the gradients that backward left, averaged over the processes.

    Args:
        weight_decay: decoupled from the gradient (AdamW).
        fused: whether one kernel updates all tensors, whose last bits differ.

    Attributes:
        skips: updates that were skipped since this object was made.
    """

    def __init__(
        self,
        network: nn.Module,
        processes: Processes,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        fused: bool = False,
    ) -> None:
        self.network, self._processes = network, processes
        self.skips = 0
        self._parameters = list(network.parameters())
        self._optimizer = torch.optim.AdamW(
            self._parameters, betas=betas, eps=eps, weight_decay=weight_decay, fused=fused
        )

    def step(
        self,
        loss: Tensor,
        learning_rate: float,
        max_norm: float | None = None,
        skip_norm: float = math.inf,
    ) -> Tensor:
        """Update the weights unless loss or gradients are not finite, and drop the gradients.

        Args:
            loss: (), of this process, which the gradients are of.
            max_norm: longer gradients are shortened to it.
            skip_norm: an update whose gradients are as long or longer is skipped too.

        Returns:
            The norm of the gradients before they are shortened, ().
        """
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        self._processes.average_(gradients)
        loss = loss.detach().clone()
        self._processes.average_([loss])
        norm = nn.utils.get_total_norm(gradients)
        # All processes decide alike: they have the same means.
        if bool((norm < skip_norm) & loss.isfinite()):
            if max_norm is not None:
                nn.utils.clip_grads_with_norm_(self._parameters, max_norm, norm)
            self._optimizer.param_groups[0]["lr"] = learning_rate
            self._optimizer.step()
        else:
            self.skips += 1
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def state(self) -> dict[str, Tensor]:
        """Return weights, buffers and moments."""
        moments = self._optimizer.state_dict()["state"]
        return {
            **{f"{_NETWORK}{name}": value for name, value in self.network.state_dict().items()},
            **{
                f"{_MOMENTS}{number}.{name}": value
                for number, of_parameter in moments.items()
                for name, value in of_parameter.items()
            },
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned."""
        network = {
            name.removeprefix(_NETWORK): value
            for name, value in tensors.items()
            if name.startswith(_NETWORK)
        }
        self.network.load_state_dict(network)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(_MOMENTS):
                number, name = key.removeprefix(_MOMENTS).split(".")
                parameter = self._parameters[int(number)]
                if value.shape == parameter.shape and value.dim():
                    # Fused kernels expect the moments in the memory layout of their parameter.
                    value = torch.empty_like(parameter, requires_grad=False).copy_(value)
                moments.setdefault(int(number), {})[name] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})

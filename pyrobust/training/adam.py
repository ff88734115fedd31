"""Adam for one network, with a state from which an interrupted run resumes."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pyrobust.training.data_parallel import Processes

_NETWORK, _MOMENTS = "network.", "adam."


class AdamUpdate:
    """Updates a network by the gradients of the last backward pass, averaged over the processes.

    Args:
        weight_decay: decoupled from the gradient (AdamW).
        fused: update all tensors in one kernel; the last bits of the results differ.

    Attributes:
        skips: number of skipped updates since this object was created.
    """

    def __init__(
        self,
        network: nn.Module,
        processes: Processes,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        fused: bool = False,
    ) -> None:
        self.network, self._processes = network, processes
        self.skips = 0
        self._parameters = list(network.parameters())
        self._optimizer = torch.optim.AdamW(
            self._parameters, betas=betas, weight_decay=weight_decay, fused=fused
        )

    def step(
        self,
        loss: Tensor,
        learning_rate: float,
        max_norm: float | None = None,
        skip_norm: float = math.inf,
    ) -> Tensor:
        """Update the weights if loss and gradients are finite, and discard the gradients.

        Args:
            loss: (), of this process, whose gradients are used.
            max_norm: maximum gradient norm; longer gradients are clipped.
            skip_norm: an update with a gradient norm of this or more is also skipped.

        Returns:
            The gradient norm before clipping, ().
        """
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        self._processes.average_(gradients)
        loss = loss.detach().clone()
        self._processes.average_([loss])
        norm = nn.utils.get_total_norm(gradients)
        # All processes decide the same, since they have the same means.
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
        """Load what `state` returned."""
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
                    # Fused kernels expect moments in the memory layout of their parameter.
                    value = torch.empty_like(parameter, requires_grad=False).copy_(value)
                moments.setdefault(int(number), {})[name] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})

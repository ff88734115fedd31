"""Hooks, with which a layer computes something else than its class states."""

from torch import nn

REMOVAL = "remove_weight_norm, remove_spectral_norm or prune.remove of torch.nn.utils"
_KINDS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def layer_with_hooks(network: nn.Module) -> str | None:
    """Return the name and class of the first layer that has hooks; None if none has."""
    for name, layer in network.named_modules():
        if any(getattr(layer, kind, None) for kind in _KINDS):
            return f"{name or 'the network'} ({type(layer).__name__})"
    return None

"""Weights of the public StyleGAN2-ADA networks, in the layout of the network here.

Parameters have the same names. Beside them a public network holds buffers: filters, which are
compared with ours, and what only other ways of sampling use (fixed noise, the mean style).
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.generators.stylegan2.filters import BINOMIAL
from pyrobust.generators.stylegan2.synthesis import GeneratorNetwork
from pyrobust.models.files import load_strictly

_FILTER = re.compile(r"synthesis\.b\d+\.(conv[01]\.)?resample_filter")
_UNUSED = re.compile(r"synthesis\.b\d+\.conv[01]\.noise_const|mapping\.w_avg")


def published_state(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return the parameters of a class-conditional generator.

    Args:
        state: all its tensors by their public names.
        source: where they come from, for messages.

    Raises:
        UserError: the generator is of another architecture; lists missing and unexpected keys.
    """
    taps = torch.tensor(BINOMIAL)
    parameters = {}
    for name, value in state.items():
        if _FILTER.fullmatch(name):
            if value.shape != (4, 4) or not torch.allclose(value.float(), torch.outer(taps, taps)):
                raise UserError(f"{source} enlarges by another filter than 1 3 3 1 (its {name})")
        elif not _UNUSED.fullmatch(name):
            parameters[name] = value.float()
    load_strictly(_network_of(parameters, source), parameters, source)
    return parameters


def _network_of(state: Mapping[str, Tensor], source: str) -> GeneratorNetwork:
    """Return a network of the sizes that the tensors tell."""
    try:
        channels = state["synthesis.b4.torgb.weight"].shape[0]
        width = state["synthesis.b4.const"].shape[0]
        latent_size, num_classes = state["mapping.embed.weight"].shape
    except KeyError as error:
        raise UserError(
            f"{source} is no class-conditional StyleGAN2 ({error} is missing); its keys begin with "
            f"{', '.join(list(state)[:3])}"
        ) from error
    sides = [int(found[1]) for name in state if (found := re.match(r"synthesis\.b(\d+)\.", name))]
    layers = sum(1 for name in state if re.fullmatch(r"mapping\.fc\d+\.weight", name))
    with torch.device("meta"):
        network = GeneratorNetwork(max(sides), channels, num_classes, latent_size, width, layers)
    return network.to_empty(device="cpu")

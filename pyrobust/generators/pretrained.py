"""Pretrained weights from other projects, converted to this project's format.

Parameters have the same names. Published networks also contain buffers: filters, which are compared
with ours, and data for other samplers (fixed noise, the mean style), which are ignored.

Supported are the network pickles of StyleGAN2-ADA (`.pkl`) and the state dicts of the VDVAE
(`.th`). No code in these files is executed.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from pyrobust.errors import UserError
from pyrobust.generators.network_pickle import read_network_pickle
from pyrobust.generators.resampling import binomial_taps
from pyrobust.generators.stylegan2.synthesis import GeneratorNetwork
from pyrobust.models.checkpoints import read_checkpoint
from pyrobust.models.files import load_strictly
from pyrobust.tensors import read_tensors, write_tensors

_FILTER = re.compile(r"synthesis\.b\d+\.(conv[01]\.)?resample_filter")
_UNUSED = re.compile(r"synthesis\.b\d+\.conv[01]\.noise_const|mapping\.w_avg")


def published_state(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return the parameters of a class-conditional generator.

    Args:
        state: all its tensors by their published names.
        source: of the tensors, for messages.

    Raises:
        UserError: the generator is of another architecture; lists missing and unexpected keys.
    """
    taps = binomial_taps().float()
    parameters = {}
    for name, value in state.items():
        if _FILTER.fullmatch(name):
            if value.shape != (4, 4) or not torch.allclose(value.float(), torch.outer(taps, taps)):
                raise UserError(
                    f"unsupported resampling filter {name} in {source}; expected [1, 3, 3, 1] "
                    "along both axes"
                )
        elif not _UNUSED.fullmatch(name):
            parameters[name] = value.float()
    load_strictly(_network_of(parameters, source), parameters, source)
    return parameters


def _network_of(state: Mapping[str, Tensor], source: str) -> GeneratorNetwork:
    """Return a network with the sizes of the tensors."""
    try:
        channels = state["synthesis.b4.torgb.weight"].shape[0]
        width = state["synthesis.b4.const"].shape[0]
        latent_size, num_classes = state["mapping.embed.weight"].shape
    except KeyError as error:
        raise UserError(
            f"{source} is not a class-conditional StyleGAN2 ({error} is missing); its keys begin "
            f"with {', '.join(list(state)[:3])}"
        ) from error
    sides = [int(found[1]) for name in state if (found := re.match(r"synthesis\.b(\d+)\.", name))]
    layers = sum(1 for name in state if re.fullmatch(r"mapping\.fc\d+\.weight", name))
    with torch.device("meta"):
        network = GeneratorNetwork(max(sides), channels, num_classes, latent_size, width, layers)
    return network.to_empty(device="cpu")


# Suffixes of files that contain a generator.
SUFFIXES = (".pkl", ".th")

# The sampling network of a pickle, which has the averaged weights.
_SAMPLING = "G_ema"

# The name of a weight in every VDVAE.
_VDVAE = "decoder.out_net.out_conv.weight"

_FORMAT = {"format": "pyrobust-generator-weights", "version": 1}


def convert_generator(source: Path, target: Path) -> None:
    """Write the weights of a published generator as safetensors.

    Raises:
        UserError: the file is missing, would execute code, or does not contain a supported
            generator; or the target has another suffix.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"{target} ends in '{target.suffix}'; use .safetensors")
    if source.suffix == ".pkl":
        networks = read_network_pickle(source)
        if _SAMPLING not in networks:
            raise UserError(f"{source} contains {', '.join(networks)} but not {_SAMPLING}")
        kind, state = "stylegan2", published_state(networks[_SAMPLING], str(source))
    else:
        kind, state = "vdvae", read_checkpoint(source).state_with([_VDVAE])
        if _VDVAE not in state:
            raise UserError(
                f"{source} does not hold a VDVAE; its keys begin with {', '.join(list(state)[:3])}"
            )
    write_tensors(target, state, {**_FORMAT, "type": kind})


def read_published(path: Path, kind: str, network: nn.Module) -> dict[str, Tensor]:
    """Return the state dict that `convert_generator` wrote, after checking its keys.

    Args:
        kind: expected type of the generator.
        network: that the weights must fit.

    Raises:
        UserError: the file is of another kind; or lists missing and unexpected keys.
    """
    state, facts = read_tensors(path, f"'pyrobust convert IN {path.name}' writes it")
    expected = {**_FORMAT, "type": kind}
    found = {key: facts.get(key) for key in expected}
    if found != expected:
        raise UserError(
            f"{path} contains {found}, but {expected} is required; run 'pyrobust convert' on "
            "the published file"
        )
    with torch.no_grad():
        load_strictly(network, state, str(path))
    return state

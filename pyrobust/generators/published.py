"""Published weights of generators: from the files of others to safetensors, and into a network.

What is read: the network pickles of StyleGAN2-ADA (`.pkl`) and the state dicts of the VDVAE
(`.th`). Neither is run.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from pyrobust.errors import UserError
from pyrobust.generators.network_pickle import read_network_pickle
from pyrobust.generators.stylegan2.published import published_state
from pyrobust.models.checkpoints import read_checkpoint
from pyrobust.models.files import load_strictly
from pyrobust.tensors import read_tensors, write_tensors

# Suffixes of files that hold a generator and no classifier.
SUFFIXES = (".pkl", ".th")

# The network of a pickle that samples: that of the averaged weights.
_SAMPLING = "G_ema"

_FORMAT = {"format": "pyrobust-generator-weights", "version": 1}


def convert_generator(source: Path, target: Path) -> None:
    """Write the weights of a published generator as safetensors.

    Raises:
        UserError: the file is missing, would run code, or holds no generator that is known here;
            or the target has another suffix.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"{target} ends in '{target.suffix}', expected .safetensors")
    if source.suffix == ".pkl":
        networks = read_network_pickle(source)
        if _SAMPLING not in networks:
            raise UserError(f"{source} holds {', '.join(networks)}, expected {_SAMPLING}")
        kind, state = "stylegan2", published_state(networks[_SAMPLING], str(source))
    else:
        kind, state = "vdvae", read_checkpoint(source)
        if "decoder.out_net.out_conv.weight" not in state:
            raise UserError(
                f"{source} holds no VDVAE; its keys begin with {', '.join(list(state)[:3])}"
            )
    write_tensors(target, state, {**_FORMAT, "type": kind})


def read_published(path: Path, kind: str, network: nn.Module) -> dict[str, Tensor]:
    """Return the state dict that `convert_generator` wrote, after a strict look at its keys.

    Args:
        kind: type that the generator must have.
        network: which the weights must fit.

    Raises:
        UserError: the file is none of these, or lists keys that are missing or unexpected.
    """
    state, facts = read_tensors(path, f"'pyrobust convert IN {path.name}' writes it")
    expected = {**_FORMAT, "type": kind}
    found = {key: facts.get(key) for key in expected}
    if found != expected:
        raise UserError(
            f"{path} holds {found}, expected {expected}: 'pyrobust convert' writes it from a "
            "published file"
        )
    with torch.no_grad():
        load_strictly(network, state, str(path))
    return state

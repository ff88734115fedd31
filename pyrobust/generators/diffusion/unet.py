"""The network of the diffusion models: the U-Net of `diffusers`, with the settings of Ho et al.

Weights and configuration have the names of `diffusers`, so that models from its hub can be loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pyrobust.data.store import ImageShape
from pyrobust.errors import UserError, reason_of

# JSON values that `UNet2DModel` is built from.
UnetConfig = dict[str, Any]


@dataclass(frozen=True)
class UnetDesign:
    """Size of a U-Net; each level but the first halves height and width.

    Args:
        channels: of each level.
        layers: residual blocks of each level on the way down; one more on the way up.
        attention_size: height of the levels whose blocks are followed by self-attention.
        groups: of the group normalisations.
    """

    channels: tuple[int, ...]
    layers: int
    attention_size: int
    groups: int


# paper: section B of Ho et al. for 32×32 images, 35.7 million parameters.
DESIGNS = {
    "paper": UnetDesign(channels=(128, 256, 256, 256), layers=2, attention_size=16, groups=32),
    "small": UnetDesign(channels=(32, 64, 64), layers=1, attention_size=8, groups=8),
    "tiny": UnetDesign(channels=(32, 32), layers=1, attention_size=4, groups=8),
}


def unet_config(
    design: UnetDesign, image_shape: ImageShape, dropout: float, num_classes: int | None
) -> UnetConfig:
    """Return the configuration of the network for such images.

    Args:
        num_classes: adds an embedding of the class to that of the noise level.

    Raises:
        UserError: the images cannot be halved so often.
    """
    height, width, image_channels = image_shape
    halvings = len(design.channels) - 1
    if height % 2**halvings or width % 2**halvings:
        raise UserError(
            f"the network halves images {halvings} times, which {height}×{width} does not "
            f"allow; use an image_size divisible by {2**halvings}"
        )
    attends = [height // 2**level == design.attention_size for level in range(halvings + 1)]
    return {
        "sample_size": [height, width],
        "in_channels": image_channels,
        "out_channels": image_channels,
        "block_out_channels": list(design.channels),
        "layers_per_block": design.layers,
        "down_block_types": [_block("Down", attention) for attention in attends],
        "up_block_types": [_block("Up", attention) for attention in reversed(attends)],
        "norm_num_groups": design.groups,
        "dropout": dropout,
        "num_class_embeds": num_classes,
        # Of the authors' code: one head, eps of the normalisation, sine before cosine with
        # frequencies up to 1 / 10,000, padding on the right and at the bottom when halving.
        "attention_head_dim": None,
        "norm_eps": 1e-6,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "downsample_padding": 0,
    }


def _block(direction: str, attention: bool) -> str:
    return f"{'Attn' if attention else ''}{direction}Block2D"


def build_unet(config: Mapping[str, Any]) -> nn.Module:
    """Return the network with the authors' initial weights, drawn from torch's generator.

    Kernels are uniform with variance 2 / (fan in + fan out), biases zero, and so are the kernels
    of the last convolution of each residual block, of each attention's output, and of the
    network: each block starts as the identity. The embedding of the class starts at zero as well;
    at the library's standard deviation of 1 it would drown that of the noise level.
    """
    from diffusers import UNet2DModel
    from diffusers.models.attention_processor import Attention
    from diffusers.models.resnet import ResnetBlock2D

    network: nn.Module = UNet2DModel.from_config(dict(config))  # type: ignore[no-untyped-call]
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for layer in network.modules():
        if isinstance(layer, ResnetBlock2D):
            nn.init.zeros_(layer.conv2.weight)
        elif isinstance(layer, Attention):
            nn.init.zeros_(layer.get_parameter("to_out.0.weight"))
    nn.init.zeros_(network.get_parameter("conv_out.weight"))
    if config["num_class_embeds"] is not None:
        nn.init.zeros_(network.get_parameter("class_embedding.weight"))
    return network


def add_condition(network: nn.Module, size: int) -> nn.Module:
    """Return the U-Net conditioned on vectors (N, size) in place of classes (N,).

    A linear map, zero at first, adds them to the embedding of the noise level, as the embedding of
    a class is.
    """
    width = network.get_submodule("time_embedding.linear_2").out_features
    condition = nn.Linear(size, width, bias=False)  # type: ignore[arg-type]
    nn.init.zeros_(condition.weight)
    network.class_embedding = condition
    return network


def load_unet(folder: Path) -> tuple[nn.Module, UnetConfig]:
    """Read a network that `diffusers` saved, and its configuration; nothing is downloaded.

    Weights are read from safetensors or, where there are none, by torch with `weights_only`.

    Args:
        folder: of the network, or of a pipeline that has it in `unet/`.

    Raises:
        UserError: the network is missing, or its weights do not fit; lists the missing and
            the unexpected ones, or names one of another shape.
    """
    from diffusers import UNet2DModel

    place = folder / "unet" if (folder / "unet").is_dir() else folder
    try:
        if not place.is_dir():  # the library would take it for a name of its hub
            raise FileNotFoundError("there is no such folder")
        # Keys of weights that older versions wrote are renamed before they are compared.
        network, found = UNet2DModel.from_pretrained(  # type: ignore[no-untyped-call]
            place, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{place} does not contain a UNet2DModel in diffusers format ({reason_of(error)}); "
            "expected config.json and diffusion_pytorch_model.safetensors"
        ) from error
    except RuntimeError as error:
        raise _misfit(place, str(error).strip().splitlines()[:2]) from error
    # The library warns of these, and draws or does not even set what is missing.
    mistakes = [
        f"{what}: {', '.join(sorted(found[f'{what}_keys']))}"
        for what in ("missing", "unexpected")
        if found[f"{what}_keys"]
    ]
    if mistakes:
        raise _misfit(place, mistakes)
    config = {key: value for key, value in network.config.items() if not key.startswith("_")}
    return network, config


def _misfit(folder: Path, mistakes: Sequence[str]) -> UserError:
    told = "; ".join(mistake.strip() for mistake in mistakes)
    return UserError(
        f"the weights in {folder} do not match its config.json ({told}); copy both files of the "
        "same model"
    )

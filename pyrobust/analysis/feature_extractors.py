"""Feature extractors by name: the labeller, FID-Inception (inception.py), LPIPS.

LPIPS (Zhang et al. 2018) compares the channels of five layers of VGG-16, each scaled to unit
length at every position, with weights w_l, and averages over the H_l × W_l positions. So

    phi_l(x) = unit(vgg_l(x)) * sqrt(w_l / (H_l W_l))   gives   |phi(x) - phi(y)|² = LPIPS(x, y).

Images of 32×32 have 124,928 values, the number that the paper states for Table 4.

Each takes uint8 images in batches of one fixed size, so that the features of an image depend on
neither the shard, the store nor the number of images around it.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pyrobust.analysis.inception import inception_extractor
from pyrobust.analysis.lpips_weights import LPIPS_SOURCE, TRUNK_SHA256, read_lpips
from pyrobust.config.analysis import ExtractorSettings
from pyrobust.errors import UserError
from pyrobust.models.extraction import Extractor, as_rgb, classifier_extractor, named_file
from pyrobust.models.files import WEIGHTS, load_strictly

# VGG-16's convolutions by the layer of LPIPS that they end in: relu1_2, 2_2, 3_3, 4_3, 5_3.
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

# Mean and standard deviation of ImageNet for pixels in [-1, 1], as LPIPS 0.1 rounds them.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class PerceptualEmbedding(nn.Module):
    """VGG-16 with LPIPS's linear weights, as an embedding.

    Args:
        trunk: state dict of torchvision's vgg16, or of its `features` alone.
        linear: LPIPS's weights of each stage, `lin{l}.model.1.weight` of shape (1, C_l, 1, 1).

    Raises:
        UserError: lists the missing, the unexpected and the misshapen keys of `trunk`.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Mapping[str, Tensor], linear: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layers())
        convolutions = {
            key: value for key, value in trunk.items() if not key.startswith("classifier")
        }
        load_strictly(self, convolutions, "the weights of VGG-16")
        weights = [linear[f"lin{stage}.model.1.weight"] for stage in range(len(_STAGES))]
        for stage, weight in enumerate(weights):
            self.register_buffer(f"weight_{stage}", weight.detach().reshape(-1, 1, 1))
        self.register_buffer("shift", torch.tensor(_SHIFT).view(-1, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(-1, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) in [0, 1], H and W at least 16, to (N, D)."""
        out = (2 * x - 1 - self.shift) / self.scale
        stages: list[Tensor] = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                stages.append(self._embedded(out, len(stages)))
            out = layer(out)
        stages.append(self._embedded(out, len(stages)))
        return torch.cat(stages, dim=1)

    def _embedded(self, out: Tensor, stage: int) -> Tensor:
        """Map (N, C, H, W) to (N, C * H * W)."""
        length = out.square().sum(dim=1, keepdim=True).sqrt()
        weight = self.get_buffer(f"weight_{stage}")
        positions = out.shape[2] * out.shape[3]
        return (out / (length + _EPSILON) * (weight / positions).sqrt()).flatten(1)


def _layers() -> list[nn.Module]:
    """Return VGG-16's convolutions in torchvision's order, without the last pooling."""
    layers: list[nn.Module] = []
    channels = 3
    for stage, widths in enumerate(_STAGES):
        if stage:
            layers.append(nn.MaxPool2d(2))
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return layers


_VGG_SIDE = 16


def make_extractor(
    settings: ExtractorSettings, labeller: Path | None, device: torch.device
) -> Extractor:
    """Build the extractor that the settings name.

    Args:
        labeller: folder that `pyrobust train-labeller` wrote; only `labeller` needs it.

    Raises:
        UserError: a file is missing or is not the expected one.
    """
    if settings.extractor == "labeller":
        return _labeller(labeller, device)
    if settings.extractor == "inception":
        return inception_extractor(settings.weights, device)
    return _lpips(settings.weights, settings.linear_weights, device)


def _labeller(folder: Path | None, device: torch.device) -> Extractor:
    if folder is None:
        raise UserError("extractor labeller requires --labeller DIR")
    extractor, spec = classifier_extractor(folder / WEIGHTS, device)
    height, width, channels = spec.image_shape

    def compute(images: Tensor) -> tuple[Tensor, Tensor | None]:
        if images.shape[1:] != (channels, height, width):
            raise UserError(
                f"the labeller in {folder} takes images of {height}×{width}×{channels}, but the "
                f"store has {images.shape[2]}×{images.shape[3]}×{images.shape[1]}; use the "
                "labeller of the same data set"
            )
        return extractor.compute(images)

    return replace(extractor, compute=compute)


def _lpips(weights: str | None, linear_weights: str | None, device: torch.device) -> Extractor:
    trunk = named_file("lpips", "--weights", weights, LPIPS_SOURCE)
    linear = None
    if linear_weights is not None:
        linear = named_file("lpips", "--linear-weights", linear_weights, LPIPS_SOURCE)
    tensors = read_lpips(trunk, linear)
    embedding = PerceptualEmbedding(
        {key: value for key, value in tensors.items() if key.startswith("features.")},
        {key: value for key, value in tensors.items() if key.startswith("lin")},
    ).to(device)

    def compute(images: Tensor) -> tuple[Tensor, None]:
        if min(images.shape[2:]) < _VGG_SIDE:
            raise UserError(
                f"the store has images of {images.shape[2]}×{images.shape[3]}, but lpips "
                f"requires at least {_VGG_SIDE}×{_VGG_SIDE}"
            )
        return embedding(as_rgb(images).float() / 255), None

    return Extractor("lpips", TRUNK_SHA256, 64, device, compute)

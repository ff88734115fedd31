"""LPIPS as an embedding: squared distances of these features are the perceptual metric.

LPIPS (Zhang et al. 2018) compares the channels of five layers of VGG-16, each scaled to unit
length at every position, with weights w_l, and averages over the H_l × W_l positions. So

    phi_l(x) = unit(vgg_l(x)) * sqrt(w_l / (H_l W_l))   gives   |phi(x) - phi(y)|² = LPIPS(x, y).

Images of 32×32 have 124,928 values, the number that the paper states for Table 4.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pyrobust.models.files import load_strictly

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

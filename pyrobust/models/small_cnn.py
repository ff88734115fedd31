"""A small convolutional network without batch norm, whose robustness can be certified."""

from torch import Tensor, nn


class SmallCnn(nn.Module):
    """Two convolutions, of which the second halves the image, and two linear layers, with ReLU.

    It has the layers of the smallest network of Gowal et al. (2018), with 3×3 kernels for images
    of any size. As an architecture: `pyrobust.models.small_cnn:SmallCnn(side=8, in_channels=1)`.

    Args:
        side: of the images, in pixels.
        width: channels of the first convolution.
    """

    def __init__(self, num_classes: int, side: int, in_channels: int = 3, width: int = 16) -> None:
        super().__init__()
        half = (side + 1) // 2
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * half * half, 100),
            nn.ReLU(),
            nn.Linear(100, num_classes),
        )
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, side, side) to logits (N, K)."""
        return self.layers(x)  # type: ignore[no-any-return]

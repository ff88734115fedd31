import pytest
import torch
from torch import nn

from pyrobust.analysis.feature_extractors import PerceptualEmbedding
from pyrobust.errors import UserError

lpips = pytest.importorskip("lpips", reason="needs the oracle: pip install lpips")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchvision.models._utils")


@pytest.fixture(scope="module")
def oracle() -> nn.Module:
    """The `lpips` package with its own linear weights over a random VGG-16."""
    torch.manual_seed(0)
    return lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)


@pytest.fixture(scope="module")
def embedding(oracle: nn.Module) -> PerceptualEmbedding:
    state = oracle.state_dict()
    # The package cuts the trunk into slices and keeps torchvision's layer numbers.
    trunk = {
        f"features.{'.'.join(key.split('.')[2:])}": value
        for key, value in state.items()
        if key.startswith("net.")
    }
    linear = {key: value for key, value in state.items() if key.startswith("lin")}
    return PerceptualEmbedding(trunk, linear)


@pytest.mark.parametrize(("size", "dimensions"), [(32, 124_928), (64, 499_712), (16, 31_232)])
def test_number_of_values(embedding: PerceptualEmbedding, size: int, dimensions: int) -> None:
    assert embedding(torch.rand(1, 3, size, size)).shape == (1, dimensions)


def test_squared_distances_are_lpips(oracle: nn.Module, embedding: PerceptualEmbedding) -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.rand(4, 3, 32, 32, generator=generator) for _ in range(2))
    expected = oracle(x, y, normalize=True).flatten()
    found = (embedding(x) - embedding(y)).square().sum(dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)


def test_another_network_is_refused() -> None:
    with pytest.raises(UserError, match=r"the weights of VGG-16 does not fit .*missing"):
        PerceptualEmbedding({"features.0.weight": torch.zeros(64, 3, 3, 3)}, {})

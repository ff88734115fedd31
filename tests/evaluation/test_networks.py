"""Networks from elsewhere are what their files say."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pyrobust.errors import UserError
from pyrobust.evaluation.networks import NetworkSource, open_network

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit")

IMAGE = torch.full((1, 1, 4, 4), 0.5)

MODULE = """
from torch import nn
def tiny(num_classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes))
def torchvision_like(weights=None, **kwargs):
    return tiny(**kwargs)
def fixed():
    return tiny(4)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module `elsewhere` and a file of weights for its networks of four classes."""
    (tmp_path / "elsewhere.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "weights.pt")
    torch.jit.script(network).save(tmp_path / "scripted.pt")
    return tmp_path


@pytest.mark.parametrize("name", ["tiny", "torchvision_like", "fixed"])
def test_a_constructor_with_weights_is_the_scripted_network(module: Path, name: str) -> None:
    source = NetworkSource(f"elsewhere:{name}", module / "weights.pt")
    network = open_network(source, IMAGE, 4)
    scripted = open_network(NetworkSource(str(module / "scripted.pt")), IMAGE, 4)
    x = torch.rand(3, 1, 4, 4)
    torch.testing.assert_close(network(x), scripted(x))
    for opened in (network, scripted):
        assert not opened.training
        assert not any(parameter.requires_grad for parameter in opened.parameters())


def test_normalisation_is_applied(module: Path) -> None:
    source = NetworkSource(str(module / "scripted.pt"))
    plain = open_network(source, IMAGE, 4)
    normalised = open_network(replace(source, mean=(0.3,), std=(0.5,)), IMAGE, 4)
    x = torch.rand(3, 1, 4, 4)
    torch.testing.assert_close(normalised(x), plain((x - 0.3) / 0.5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "elsewhere:tiny", "weights": None}, "has no weights: name their file"),
        ({"model": "elsewhere:absent"}, "names no constructor"),
        ({"model": "nowhere:tiny"}, "names no constructor"),
        ({"model": "weights.pt"}, "is no TorchScript file: .* 'pyrobust convert"),
        ({"model": "absent.pt"}, "absent.pt is missing"),
        ({"mean": (0.5,), "std": ()}, "do not fit images of 1 channels"),
        ({"mean": (0.5,), "std": (0.0,)}, "do not fit images of 1 channels"),
    ],
)
def test_bad_sources_are_one_sentence(
    module: Path, changes: dict[str, object], message: str
) -> None:
    source = NetworkSource("elsewhere:tiny", module / "weights.pt")
    if str(changes.get("model", "")).endswith(".pt"):
        changes = {**changes, "model": str(module / str(changes["model"]))}
    with pytest.raises(UserError, match=message):
        open_network(replace(source, **changes), IMAGE, 4)


def test_networks_for_other_images_or_classes_are_refused(module: Path) -> None:
    source = NetworkSource(str(module / "scripted.pt"))
    with pytest.raises(UserError, match=r"does not take images of shape \(1, 5, 5\)"):
        open_network(source, torch.zeros(1, 1, 5, 5), 4)
    with pytest.raises(UserError, match=r"output of shape \(1, 4\), but the data set has 7"):
        open_network(source, IMAGE, 7)


def test_sources_are_told_apart(module: Path) -> None:
    source = NetworkSource("elsewhere:tiny", module / "weights.pt")
    identities = [
        changed.identity()
        for changed in (
            source,
            replace(source, model="elsewhere:fixed"),
            replace(source, mean=(0.5,)),
            NetworkSource(str(module / "scripted.pt")),
        )
    ]
    assert all(identities.count(identity) == 1 for identity in identities)

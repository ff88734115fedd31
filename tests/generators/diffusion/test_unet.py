"""The network: its size, its start as zero, and folders of diffusers."""

from pathlib import Path

import pytest
import torch

from pyrobust.errors import UserError
from pyrobust.generators.diffusion.unet import DESIGNS, build_unet, load_unet, unet_config


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_paper_s_network_for_cifar10_has_35746307_parameters() -> None:
    config = unet_config(DESIGNS["paper"], (32, 32, 3), 0.1, None)
    assert count(build_unet(config)) == 35_746_307
    assert config["down_block_types"] == [
        "DownBlock2D",
        "AttnDownBlock2D",
        "DownBlock2D",
        "DownBlock2D",
    ]
    assert config["up_block_types"] == ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"]


def test_larger_images_attend_at_the_same_resolution() -> None:
    config = unet_config(DESIGNS["paper"], (64, 64, 3), 0.1, None)
    assert [name.startswith("Attn") for name in config["down_block_types"]] == [False] * 2 + [
        True,
        False,
    ]


def tiny(num_classes: int | None = None) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_unet(unet_config(DESIGNS["tiny"], (8, 8, 1), 0.0, num_classes))


@pytest.mark.parametrize("num_classes", [None, 10])
def test_a_new_network_predicts_zero(num_classes: int | None) -> None:
    classes = None if num_classes is None else torch.tensor([0, 9])
    output = tiny(num_classes)(torch.randn(2, 1, 8, 8), torch.tensor([0, 999]), classes).sample
    assert output.shape == (2, 1, 8, 8)
    assert (output == 0).all()


def test_each_block_starts_as_the_identity() -> None:
    network = tiny()
    zero = [
        name for name, value in network.named_parameters() if value.dim() > 1 and not value.any()
    ]
    blocks = sum(name.endswith("conv2.weight") for name, _ in network.named_parameters())
    attentions = sum(name.endswith("to_q.weight") for name, _ in network.named_parameters())
    assert len(zero) == blocks + attentions + 1
    assert (blocks, attentions) == (8, 4)


def test_images_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(UserError, match=r"images of 28×28 cannot be halved 3 times.*that 8 div"):
        unet_config(DESIGNS["paper"], (28, 28, 1), 0.1, None)


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("place", [".", "unet"])
def test_a_folder_of_diffusers_is_read(tmp_path: Path, safe: bool, place: str) -> None:
    network = tiny()
    network.save_pretrained(tmp_path / place, safe_serialization=safe)
    read, config = load_unet(tmp_path)
    again = build_unet(config)
    again.load_state_dict(read.state_dict())
    assert all(
        torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items()
    )


def test_a_folder_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no UNet2DModel of diffusers"):
        load_unet(tmp_path)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    network = tiny()
    network.save_pretrained(tmp_path, safe_serialization=False)

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    torch.save({"conv_in.weight": Hostile()}, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError):
        load_unet(tmp_path)
    assert not (tmp_path / "ran").exists()

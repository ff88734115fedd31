"""The network: its size, its start as zero, and folders of diffusers."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

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
    with pytest.raises(
        UserError, match="the network halves images 3 times, which 28×28 does not allow; use an"
    ):
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


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"gone does not contain a UNet2DModel in diffusers format \(there is no such",
    ):
        load_unet(tmp_path / "gone")


def test_a_folder_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"does not contain a UNet2DModel in diffusers format \(Error no file named"
    ):
        load_unet(tmp_path)


def rename(state: dict[str, Tensor], names: dict[str, str | None]) -> dict[str, Tensor]:
    """Return `state` with these keys renamed, or left out."""
    renamed = {names.get(key, key): value for key, value in state.items()}
    return {key: value for key, value in renamed.items() if key is not None}


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, r"config\.json \(missing: conv_in\.weight\); copy both"),
        ("conv", r"config\.json \(missing: conv_in\.weight; unexpected: conv\); copy both"),
    ],
)
def test_weights_that_are_missing_or_unexpected_are_refused(
    tmp_path: Path, safe: bool, name: str | None, message: str
) -> None:
    network = tiny()
    state = rename(network.state_dict(), {"conv_in.weight": name})
    network.save_pretrained(tmp_path, safe_serialization=safe)
    if safe:
        save_file(state, tmp_path / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    else:
        torch.save(state, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match=message):
        load_unet(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    tiny(num_classes=10).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"num_class_embeds": 10', '"num_class_embeds": 9'))
    with pytest.raises(
        UserError, match=r"; size mismatch for class_embedding\.weight: .*copy both"
    ):
        load_unet(tmp_path)


def test_weights_under_the_keys_of_older_versions_are_read(tmp_path: Path) -> None:
    """As google/ddpm-cifar10-32 has them."""
    network = tiny()
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = network.state_dict()
    names: dict[str, str | None] = {
        key: key.replace(new, old)
        for key in state
        for new, old in older.items()
        if f".{new}." in key
    }
    assert len(names) == 4 * 4 * 2
    network.save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(rename(state, names), path, {"format": "pt"})
    read, _ = load_unet(tmp_path)
    assert all(torch.equal(value, read.state_dict()[key]) for key, value in state.items())


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

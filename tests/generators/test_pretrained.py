"""Published weights: converted strictly, and taken over by a generator."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from pyrobust.cli import app
from pyrobust.config import parse_settings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.errors import UserError
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.pretrained import convert_generator, read_published
from pyrobust.generators.registry import load_generator
from pyrobust.generators.resampling import binomial_taps
from pyrobust.generators.stylegan2.synthesis import GeneratorNetwork, StyledConv, SynthesisBlock
from pyrobust.generators.vdvae.network import Vdvae
from pyrobust.ops import normal
from tests.generators.fits import RUNTIME
from tests.generators.network_pickles import write_network_pickle


def make_network(num_classes: int = 3) -> GeneratorNetwork:
    torch.manual_seed(0)
    return GeneratorNetwork(8, 1, num_classes, 4, 8, 2)


def as_published(network: GeneratorNetwork) -> GeneratorNetwork:
    """Add the buffers that the public networks hold beside their parameters."""
    taps = binomial_taps().float()
    for module in network.modules():
        if isinstance(module, SynthesisBlock | StyledConv):
            module._buffers.pop("taps", None)  # of our own
            module.register_buffer("resample_filter", torch.outer(taps, taps))
        if isinstance(module, SynthesisBlock):
            for name in ("conv0", "conv1"):
                if hasattr(module, name):
                    noise = torch.randn(module.side, module.side)
                    getattr(module, name).register_buffer("noise_const", noise)
    network.mapping.register_buffer("w_avg", torch.zeros(4))
    return network


def test_a_stylegan2_pickle_becomes_weights_that_fit(tmp_path: Path) -> None:
    network = make_network()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    pickled = write_network_pickle(
        tmp_path / "net.pkl", G=nn.Linear(1, 1), G_ema=as_published(make_network())
    )
    arguments = ["convert", str(pickled), str(tmp_path / "net.safetensors")]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    read = read_published(tmp_path / "net.safetensors", "stylegan2", make_network())
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


def test_a_generator_takes_converted_weights_over(bars: Dataset, tmp_path: Path) -> None:
    pickled = write_network_pickle(tmp_path / "net.pkl", G_ema=as_published(make_network()))
    convert_generator(pickled, tmp_path / "net.safetensors")
    values = {"type": "stylegan2", "width": 8, "latent_size": 4}
    values["path"] = str(tmp_path / "net.safetensors")
    settings = parse_settings(GeneratorSettings, values)
    fit_generator(bars.path, tmp_path / "generator", settings, RUNTIME)
    generator = load_generator(tmp_path / "generator")
    state = make_network().state_dict()
    assert generator.weights.keys() == {f"average.{name}" for name in state}
    samples = generator.sample(np.arange(6), seed=0)
    ids = torch.arange(250)  # a whole block, since last bits depend on the batch
    with torch.no_grad():
        x = make_network()(normal(ids, (make_network().num_normals,), 0), ids % 3)
    expected = ((x + 1) * 127.5).clamp(0, 255).round()[:6].permute(0, 2, 3, 1)
    np.testing.assert_array_equal(samples.images, expected.numpy())
    other = parse_settings(GeneratorSettings, {**values, "width": 16})
    with pytest.raises(UserError, match=r"of another shape: .*b4\.const \(8, 4, 4\) instead"):
        fit_generator(bars.path, tmp_path / "other", other, RUNTIME)


def broken(change: str) -> nn.Module:
    network = as_published(make_network())
    block = network.synthesis.get_submodule("b8")
    if change == "missing":
        del block.conv1.noise_strength
    elif change == "unexpected":
        block.register_buffer("skip", torch.zeros(1))
    elif change == "filter":
        block.resample_filter.mul_(2)
    elif change == "unconditional":
        del network.mapping.embed
    return network


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"missing: synthesis\.b8\.conv1\.noise_strength"),
        ("unexpected", r"unexpected: synthesis\.b8\.skip"),
        ("filter", r"unsupported resampling filter synthesis\.b8\.\w+ .*expected \[1, 3, 3, 1\]"),
        (
            "unconditional",
            r"not a class-conditional StyleGAN2 \('mapping\.embed\.weight' is missing",
        ),
    ],
)
def test_a_network_of_another_architecture_is_refused(
    change: str, message: str, tmp_path: Path
) -> None:
    path = write_network_pickle(tmp_path / "net.pkl", G_ema=broken(change))
    with pytest.raises(UserError, match=message):
        convert_generator(path, tmp_path / "net.safetensors")
    assert not (tmp_path / "net.safetensors").exists()


def test_a_pickle_without_averaged_weights_is_refused(tmp_path: Path) -> None:
    path = write_network_pickle(tmp_path / "net.pkl", G=make_network())
    with pytest.raises(UserError, match=r"net\.pkl contains G but not G_ema"):
        convert_generator(path, tmp_path / "net.safetensors")


def make_vdvae(width: int = 8) -> Vdvae:
    torch.manual_seed(0)
    return Vdvae(8, 1, width, 0.25, 2, 3, 64, "8x1,8d2,4d4,1x1", "1x1,4m1,8m4,8x1")


def test_a_state_dict_of_a_vdvae_becomes_weights_that_fit(tmp_path: Path) -> None:
    state = make_vdvae().state_dict()
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "a.th")
    convert_generator(tmp_path / "a.th", tmp_path / "a.safetensors")
    read = read_published(tmp_path / "a.safetensors", "vdvae", make_vdvae())
    assert all(torch.equal(read[name], state[name]) for name in state)
    with pytest.raises(UserError, match=r"decoder\.gain \(1, 8, 1, 1\) instead of \(1, 12"):
        read_published(tmp_path / "a.safetensors", "vdvae", make_vdvae(width=12))
    with pytest.raises(
        UserError, match=r"'type': 'vdvae'}, but .*'type': 'stylegan2'} is required"
    ):
        read_published(tmp_path / "a.safetensors", "stylegan2", make_network())


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "a.th")
    with pytest.raises(UserError, match=r"a\.th does not hold a VDVAE; its keys begin with weight"):
        convert_generator(tmp_path / "a.th", tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"a\.pt ends in '\.pt'; use \.safetensors"):
        convert_generator(tmp_path / "a.th", tmp_path / "a.pt")

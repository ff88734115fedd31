"""The ladder of the VDVAE: sizes, names, the KL, and what it refuses."""

import pytest
import torch

from pyrobust.errors import UserError
from pyrobust.generators.vdvae.ladder import Stage, parse_stages
from pyrobust.generators.vdvae.network import Vdvae, gaussian_kl

CIFAR_ENCODER = "32x11,32d2,16x6,16d2,8x6,8d2,4x3,4d4,1x3"
CIFAR_DECODER = "1x1,4m1,4x2,8m4,8x5,16m8,16x10,32m16,32x21"
TINY = {"encoder": "8x1,8d2,4d4,1x1", "decoder": "1x1,4m1,8m4,8x1"}


def make(side: int = 8, channels: int = 1, **changes: object) -> Vdvae:
    settings = {
        "width": 16,
        "bottleneck": 0.25,
        "latent_width": 4,
        "mixtures": 2,
        "no_bias_above": 64,
        **TINY,
        **changes,
    }
    return Vdvae(side, channels, **settings)  # type: ignore[arg-type]


def test_the_network_for_cifar10_has_the_published_size() -> None:
    with torch.device("meta"):
        network = make(
            32, 3, width=384, latent_width=16, mixtures=10,
            encoder=CIFAR_ENCODER, decoder=CIFAR_DECODER,
        )  # fmt: skip
    assert sum(parameter.numel() for parameter in network.parameters()) == 39_145_700
    assert network.num_latents == 412_432
    names = set(network.state_dict())
    assert {"encoder.enc_blocks.32.c4.weight", "decoder.dec_blocks.42.resnet.c1.bias",
            "decoder.bias_xs.3", "decoder.out_net.out_conv.weight"} <= names  # fmt: skip


def test_words_of_the_ladder_are_understood() -> None:
    assert parse_stages("8x2,8d2,4m1") == [
        Stage(8),
        Stage(8),
        Stage(8, factor=2),
        Stage(4, None, 1),
    ]
    with pytest.raises(
        UserError, match="invalid VDVAE block '8y2'; expected blocks such as 32x11, 32d2 or 32m16"
    ):
        parse_stages("8x2,8y2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder": "16x1"},
            "an encoder block has resolution 16×16, but its input is 8×8; list blocks from",
        ),
        (
            {"decoder": "1x1,2m1,8m2"},
            "a decoder block has resolution 2×2; choose one of the encoder's resolutions",
        ),
        ({"decoder": "1x1,4m1"}, "the last decoder block has resolution 4×4, but images are 8×8"),
    ],
)
def test_ladders_that_do_not_fit_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("of", "other", "expected"),
    [
        ((0.0, 0.0), (0.0, 0.0), 0.0),
        ((1.0, 0.0), (0.0, 0.0), 0.5),
        ((0.0, 0.0), (0.0, 1.0), 1 - 0.5 + 0.5 * 2.718281828**-2),
        ((2.0, -1.0), (1.0, 0.5), 1.5 - 0.5 + 0.5 * (2.718281828**-2 + 1) / 2.718281828),
    ],
)
def test_the_divergence_of_two_normals(
    of: tuple[float, float], other: tuple[float, float], expected: float
) -> None:
    arguments = [torch.tensor(value) for value in (*of, *other)]
    assert gaussian_kl(*arguments).item() == pytest.approx(expected, abs=1e-6)


def test_passes_have_the_right_shapes_and_the_divergence_grows_from_the_posterior() -> None:
    torch.manual_seed(0)
    network = make()
    noise = torch.randn(3, network.num_latents)
    parameters, divergence = network(torch.rand(3, 1, 8, 8), noise)
    assert parameters.shape == (3, 6, 8, 8)
    assert (divergence > 0).all()
    drawn, none = network.decoder(noise)
    assert drawn.shape == parameters.shape and (none == 0).all()


def test_an_untrained_prior_is_standard_normal() -> None:
    network = make()
    block = network.decoder.dec_blocks[0]
    out = block.prior(torch.randn(2, 16, 1, 1))
    assert (out == 0).all()

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pyrobust.attacks import ThreatModel
from pyrobust.config import parse_settings
from pyrobust.config.evaluation import EvaluationSettings, LandscapeSettings, ThreatSettings
from pyrobust.config.generator_types import TYPES
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.training import TrainSettings
from pyrobust.evaluation.loss_landscape import write_landscape
from pyrobust.generators.base import GeneratorSpec
from pyrobust.generators.gan import GanGenerator
from pyrobust.generators.network_training import AVERAGE
from pyrobust.generators.registry import GENERATORS
from pyrobust.generators.trained import TrainedGenerator
from pyrobust.models import ModelSpec, build_model
from pyrobust.planning import work


@pytest.mark.parametrize(
    ("architecture", "flops", "weights"),
    [("wrn-28-10", 10.49e9, 36_479_194), ("wrn-70-16", 77.5e9, 266_796_506)],
)
def test_networks_are_counted_as_published(architecture: str, flops: float, weights: int) -> None:
    found = work.classifier(architecture, (32, 32, 3), 10)
    assert found == (pytest.approx(flops, rel=1e-3), weights)


@pytest.mark.parametrize(
    ("architecture", "width"), [("wrn-16-4", 256), ("wrn-10-1", 64), ("resnet-18", 512)]
)
def test_the_penultimate_layer_is_as_wide_as_the_networks(architecture: str, width: int) -> None:
    spec = ModelSpec(architecture, "silu", 10, (32, 32, 3), (0.5,) * 3, (0.5,) * 3)
    assert work.penultimate(architecture) == build_model(spec).logits.in_features == width


@pytest.mark.parametrize(("steps", "passes"), [(10, 26), (0, 6)])
def test_a_trades_image_costs_26_forward_passes(steps: int, passes: int) -> None:
    assert work.training_passes(TrainSettings(attack_steps=steps)) == passes


@pytest.mark.parametrize(
    ("values", "passes"),
    [({"type": "ddpm"}, 1000), ({"type": "ddpm", "preset": "tiny"}, 20), ({"type": "edm"}, 35)],
)
def test_a_sample_costs_the_passes_of_its_sampler(values: dict[str, str], passes: int) -> None:
    assert GeneratorSettings.model_validate(values).sampling_passes == passes


PRESETS = [(name, preset) for name, kind in TYPES.items() for preset in kind.work]


def test_every_preset_of_a_trained_type_is_counted() -> None:
    for name, kind in TYPES.items():
        is_trained = "training_steps" in kind.presets["paper"]
        assert set(kind.work) == (set(kind.presets) if is_trained else set()), name


def spec_of(kind: str, preset: str) -> GeneratorSpec:
    """Return what a network for images of the counted shape is built from."""
    settings = parse_settings(GeneratorSettings, {"type": kind, "preset": preset})
    shape = (8, 8, 1) if preset == "tiny" else (32, 32, 3)
    return GeneratorSpec(settings, "digits", "", tuple("0123456789"), shape)


@pytest.mark.parametrize("kind", [name for name, kind in TYPES.items() if kind.is_trained])
def test_a_tiny_network_passes_as_counted(kind: str) -> None:
    spec, model = spec_of(kind, "tiny"), GENERATORS[kind]
    assert issubclass(model, TrainedGenerator)
    network = model.build_network(spec)
    generator = model(spec, {f"{AVERAGE}{k}": value for k, value in network.state_dict().items()})
    generator.block_size = 2
    with FlopCounterMode(display=False) as counter:
        generator.sample_block(0, 0)
    passes = 2 * spec.settings.sampling_passes
    counted = work.generator_pass(spec.settings, spec.image_shape)
    assert counter.get_total_flops() / passes == pytest.approx(counted, rel=0.3)


@pytest.mark.parametrize(("kind", "preset"), PRESETS)
def test_generators_have_as_many_weights_as_counted(kind: str, preset: str) -> None:
    spec, model = spec_of(kind, preset), GENERATORS[kind]
    assert issubclass(model, TrainedGenerator)
    with torch.device("meta"):
        network = model.build_network(spec)
    assert sum(p.numel() for p in network.parameters()) == TYPES[kind].work[preset].weights


@pytest.mark.parametrize("preset", ["paper", "tiny"])
@pytest.mark.parametrize("kind", ["biggan", "stylegan2"])
def test_discriminators_have_as_many_weights_as_counted(kind: str, preset: str) -> None:
    spec, model = spec_of(kind, preset), GENERATORS[kind]
    assert issubclass(model, GanGenerator)
    with torch.device("meta"):
        network = model.build_discriminator(spec)
    counted = TYPES[kind].work[preset].discriminator_weights
    assert sum(p.numel() for p in network.parameters()) == counted


def test_a_landscape_makes_as_many_passes_as_counted(tmp_path: Path) -> None:
    settings = LandscapeSettings(resolution=5)
    forward: list[int] = []
    with_gradient: list[int] = []
    weights = torch.linspace(-1, 1, 16)

    def logits_fn(x: torch.Tensor) -> torch.Tensor:
        (with_gradient if x.requires_grad else forward).append(len(x))
        score = x.flatten(1) @ weights
        return torch.stack([score, -score], 1)

    subject: Any = SimpleNamespace(
        logits_fn=logits_fn,
        device="cpu",
        threat=ThreatModel("linf", 0.1),
        threat_settings=ThreatSettings(norm="linf", epsilon="0.1"),
        images=SimpleNamespace(count=10),
        load=lambda rows: (torch.full((len(rows), 1, 4, 4), 0.5), torch.tensor([*rows]) % 2),
    )
    write_landscape(subject, tmp_path, settings)
    attack, planes = work.landscape_passes(settings, settings.num_images)
    counted = sum(forward) + 2 * sum(with_gradient)
    assert counted == pytest.approx(attack + planes, rel=0.05)


def test_images_that_fell_meet_no_further_attack() -> None:
    settings = EvaluationSettings()
    assert work.attack_passes(settings, 10, standing=0) == 1 + 2 * 500
    assert work.attack_passes(settings, 10, standing=1) == 1 + 2 * (500 + 500 + 9 * 2000)
    curve = EvaluationSettings(curve=("4/255", "16/255"))
    assert work.attack_passes(curve, 10, standing=0) == 1 + 3 * 2 * 500


def test_lpips_has_the_dimensions_of_the_paper() -> None:
    assert work.extractor("lpips", (32, 32, 3))[1] == 124_928
    assert work.extractor("lpips", (64, 64, 3))[1] == 499_712

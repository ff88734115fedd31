"""EDM's non-leaking augmentation: exact identities, labels that describe, samples without any."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pyrobust.data.dataset import Dataset
from pyrobust.generators.diffusion import edm
from pyrobust.generators.diffusion.augmentation import (
    NUM_LABELS,
    NUM_NORMALS,
    NUM_UNIFORMS,
    augment,
)
from pyrobust.generators.diffusion.edm import EdmGenerator, EdmTraining
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.registry import load_generator
from pyrobust.generators.resampling import symlet_taps
from tests.generators.diffusion.conftest import quick
from tests.generators.fits import RUNTIME, fit_of
from tests.kills import Killed

TAPS = symlet_taps()

# Places of the uniform numbers.
MIRROR, FLIP, SCALE, ROTATE, STRETCH, SHIFT, MIRROR_VALUE, FLIP_VALUE, ANGLE, DIRECTION = range(10)


def apply(images: Tensor, normals: tuple[float, ...] = (1.0,) * 4, **uniforms: float) -> tuple:
    """Augment with the named transformations only; other gates stay shut."""
    numbers = torch.ones(len(images), NUM_UNIFORMS)
    for name, value in uniforms.items():
        numbers[:, globals()[name]] = value
    return augment(images, 0.5, 0.5, numbers, torch.tensor(normals).expand(len(images), -1), TAPS)


def smooth_images(count: int = 2, side: int = 24) -> Tensor:
    ramp = torch.linspace(-1, 1, side)
    image = (torch.sin(3 * ramp)[:, None] + torch.cos(2 * ramp + 0.5)) / 2
    return torch.stack([image * (1 + k / 5) for k in range(count)])[:, None]


def test_without_a_transformation_pixels_and_labels_are_exact() -> None:
    images = torch.rand(3, 1, 8, 8)
    out, labels = apply(images)
    assert out.equal(images) and labels.equal(torch.zeros(3, NUM_LABELS))


def test_mirrored_pixels_are_exact_and_labelled() -> None:
    images = torch.rand(3, 2, 8, 8)
    out, labels = apply(images, MIRROR=0.1, MIRROR_VALUE=0.2)
    assert out.equal(images.flip(3)) and labels[:, 0].eq(1).all() and labels[:, 1:].eq(0).all()
    out, labels = apply(images, FLIP=0.1, FLIP_VALUE=0.2)
    assert out.equal(images.flip(2)) and labels[:, 1].eq(1).all()
    out, labels = apply(images, MIRROR=0.1, MIRROR_VALUE=0.7)
    assert out.equal(images) and labels.eq(0).all()


def test_a_quarter_turn_is_one_of_the_image_and_labelled_by_its_angle() -> None:
    images = smooth_images()
    out, labels = apply(images, ROTATE=0.1, ANGLE=0.75)  # pi / 2
    inner = (..., slice(3, -3), slice(3, -3))
    turned = images.rot90(1, (2, 3))
    torch.testing.assert_close(out[inner], turned[inner], atol=0.01, rtol=0)
    expected = torch.tensor([0, 0, 0, -1, 1, 0, 0, 0, 0.0]).expand(2, -1)
    torch.testing.assert_close(labels, expected, atol=1e-6, rtol=0)


def test_a_shift_moves_an_eighth_of_the_side_times_its_label() -> None:
    images = torch.rand(1, 1, 16, 16)
    out, labels = apply(images, (0.0, 0.0, 2.0, 0.0), SHIFT=0.1)  # 4 pixels to the right
    torch.testing.assert_close(out[..., 4:], images[..., :-4], atol=2e-5, rtol=0)
    assert labels.tolist() == [[0, 0, 0, 0, 0, 0, 0, 2, 0]]


def test_scaling_and_stretching_enlarge_by_what_the_labels_say() -> None:
    ramp = torch.linspace(-1, 1, 33)
    images = ramp.expand(1, 1, 33, 33)
    inner = slice(12, 21)
    for out, labels in (
        apply(images, (1.0, 0.0, 0.0, 0.0), SCALE=0.1),
        apply(images, (0.0, 1.0, 0.0, 0.0), STRETCH=0.1, DIRECTION=0.5),  # along x
    ):
        slope = (out[0, 0, 16].diff() / ramp.diff())[inner].mean()
        assert slope.item() == pytest.approx(2**-0.2, abs=0.01)
        assert labels.abs().sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("uniform", "expected"), [(0.9, (1.0, 0.0)), (0.25, (1.0, 0.0)), (0.3125, (2**-0.5, 2**-0.5))]
)
def test_half_of_the_stretches_follow_an_axis_and_the_others_any_direction(
    uniform: float, expected: tuple[float, float]
) -> None:
    normals = (0.0, 1.0, 0.0, 0.0)
    _, labels = apply(torch.rand(1, 1, 8, 8), normals, STRETCH=0.1, DIRECTION=uniform)
    torch.testing.assert_close(labels[0, 5:7], torch.tensor(expected), atol=1e-6, rtol=0)


def test_a_stretch_has_the_direction_of_the_authors_code() -> None:
    axis = torch.linspace(-1, 1, 33)
    images = (axis[:, None] - axis)[None, None]  # grows along one diagonal alone: down and left
    normals = (0.0, 1.0, 0.0, 0.0)
    across, along = (
        apply(images, normals, STRETCH=0.1, DIRECTION=(angle + 1) / 4)[0][0, 0]
        for angle in (-0.25, 0.25)  # a_4 / pi; a stretch is along (cos a_4, -sin a_4)
    )
    slope = 2 / 32
    rises = [(out[12:21, 16].diff().mean() / slope).item() for out in (across, along)]
    assert rises == pytest.approx([2**0.2, 2**-0.2], abs=0.02)


def test_each_transformation_happens_as_often_as_asked() -> None:
    generator = torch.Generator().manual_seed(0)
    uniforms = torch.rand(4000, NUM_UNIFORMS, generator=generator)
    normals = torch.randn(4000, NUM_NORMALS, generator=generator)
    _, labels = augment(torch.zeros(4000, 1, 4, 4), 0.12, 1.0, uniforms, normals, TAPS)
    happened = (labels != 0).float().mean(0)
    # The direction of half of the stretches is 0, and its sine too.
    expected = torch.tensor([0.5, 0.06, *[0.12] * 4, 0.06, 0.12, 0.12])
    torch.testing.assert_close(happened, expected, atol=0.02, rtol=0)
    assert labels[:, 3].min() >= -2 and math.isfinite(labels.sum())


def test_the_class_and_the_augmentation_start_at_zero_strength(
    shades: Dataset, tmp_path: Path
) -> None:
    for settings in (quick("edm"), quick("edm", augment_probability=0.5)):
        training = EdmGenerator.start_training(fit_of(shades, settings, tmp_path))
        weight = training.network.class_embedding.weight
        assert weight.eq(0).all()
        for step in range(4):
            training.step(step)
        assert weight.ne(0).any()
    assert weight.shape[1] == 3 + NUM_LABELS


@pytest.mark.parametrize("conditional", [True, False])
def test_an_augmented_edm_trains_saves_and_samples_by_itself(
    conditional: bool, shades: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick("edm", augment_probability=0.5, conditional=conditional)
    fit_generator(shades.path, tmp_path / "first", settings, RUNTIME)
    seen = []

    def noting(classes: Tensor | None, count: int, labels: Tensor | None) -> Tensor | None:
        seen.append(labels)
        return condition_on(classes, count, labels)

    condition_on = edm.condition_on
    monkeypatch.setattr(edm, "condition_on", noting)
    generator = load_generator(tmp_path / "first")
    images = generator.sample(np.arange(20), seed=0).images
    assert all(labels is not None and labels.eq(0).all() for labels in seen)
    # The weights bring their conditioning along, whatever the settings say.
    taken = quick("edm", path=str(tmp_path / "first"), conditional=conditional)
    fit_generator(shades.path, tmp_path / "second", taken, RUNTIME)
    again = load_generator(tmp_path / "second").sample(np.arange(20), seed=0).images
    np.testing.assert_array_equal(again, images)


def test_the_network_sees_augmented_images_with_their_labels(
    shades: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick("edm", augment_probability=0.9)
    training = EdmGenerator.start_training(fit_of(shades, settings, tmp_path))
    assert isinstance(training, EdmTraining)
    conditions = []
    training.network.class_embedding.register_forward_pre_hook(
        lambda _, inputs: conditions.append(inputs[0].clone())
    )
    training.step(0)
    (condition,) = conditions
    labels = training.loader.batch(0).labels
    assert condition[:, :3].argmax(1).equal(labels)
    assert condition[:, 3:].ne(0).any(0).sum() >= 5


def test_a_killed_fit_on_augmented_images_ends_with_the_same_bytes(
    shades: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = quick("edm", augment_probability=0.5)
    fit_generator(shades.path, tmp_path / "whole", settings, RUNTIME)
    update = EdmTraining.update

    def dying(self: EdmTraining, step: int) -> Tensor:
        if step == 7:
            raise Killed
        return update(self, step)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(EdmTraining, "update", dying)
        fit_generator(shades.path, tmp_path / "killed", settings, RUNTIME)
    fit_generator(shades.path, tmp_path / "killed", settings, RUNTIME)
    for name in ("weights.safetensors", "generator.json", "log.jsonl"):
        whole, killed = ((tmp_path / run / name).read_bytes() for run in ("whole", "killed"))
        assert whole == killed, name

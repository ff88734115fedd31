"""Labelling: the largest logit and its softmax, however the samples are divided into parts."""

import numpy as np
import pytest
import torch

from pyrobust.data.labels import LabelStore
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.generators.pseudo_labels import label_part
from pyrobust.generators.sampling import sample_part
from pyrobust.models import ModelSpec, build_model, load_model, save_model


def test_labels_are_the_largest_logit_and_its_softmax(gaussian, labeller, tmp_path):
    sample_part(gaussian, 0, 300, tmp_path / "part")
    label_part(tmp_path / "part", labeller, tmp_path / "labels", "cpu")
    found = LabelStore.open(tmp_path / "labels")
    images = SampleStore.open(tmp_path / "part").images()
    model, _ = load_model(labeller / "model.safetensors", "cpu")
    with torch.inference_mode():
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        probs = model(x).softmax(dim=1).numpy()
    np.testing.assert_array_equal(found.labels(), probs.argmax(axis=1))
    np.testing.assert_allclose(found.scores(), probs.max(axis=1), rtol=1e-4)
    asked = probs[np.arange(300), np.arange(300) % 3]
    np.testing.assert_allclose(found.condition_scores(), asked, rtol=1e-4)
    assert len(np.unique(found.labels())) == 3


def test_labels_do_not_depend_on_the_parts(make_parts):
    whole, cut = make_parts(1, 600), make_parts(4, 150)
    labels = [LabelStore.open(cut / "labels" / str(part)) for part in range(4)]
    one = LabelStore.open(whole / "labels" / "0")
    assert [store.first_id for store in labels] == [0, 150, 300, 450]
    np.testing.assert_array_equal(np.concatenate([s.labels() for s in labels]), one.labels())
    np.testing.assert_array_equal(np.concatenate([s.scores() for s in labels]), one.scores())


def test_a_labeller_of_other_images_is_refused(gaussian, make_animals, tmp_path):
    spec = ModelSpec("wrn-10-1", "silu", 10, (32, 32, 3), (0.5,) * 3, (0.2,) * 3)
    save_model(tmp_path / "labeller/model.safetensors", build_model(spec), spec)
    sample_part(gaussian, 0, 30, tmp_path / "part")
    with pytest.raises(
        UserError,
        match=r"model\.safetensors takes images of shape \(32, 32, 3\) and has 10 classes",
    ):
        label_part(tmp_path / "part", tmp_path / "labeller", tmp_path / "labels", "cpu")

"""Selection refuses parts, labels and distances that do not fit, and classes that stay short."""

import pytest

from pyrobust.config.data import SelectionSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.errors import UserError
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.pseudo_labels import label_part
from pyrobust.generators.sampling import sample_part
from pyrobust.generators.selecting import select_parts
from tests.generators.fits import RUNTIME


def test_a_least_distance_without_distances_is_refused(make_parts, gaussian, labeller, tmp_path):
    folder = make_parts(1, 120)
    settings = SelectionSettings(min_distance=0.1)
    inputs = (folder / "parts", folder / "labels", 1, 30, tmp_path / "out", settings, "cpu")
    with pytest.raises(
        UserError,
        match=r"min_distance is 0\.1, which requires --distances \(the folder that 'pyrobust",
    ):
        select_parts(gaussian, labeller, *inputs)


def test_distances_of_other_samples_are_refused(make_parts, select, gaussian, labeller):
    folder = make_parts(1, 120, True)
    sample_part(gaussian, 0, 121, folder / "parts" / "0")
    label_part(folder / "parts" / "0", labeller, folder / "labels" / "0", "cpu")
    with pytest.raises(
        UserError,
        match="belongs to other samples or other training images; run 'pyrobust distances'",
    ):
        select(folder, 1, 30, min_distance=0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"max_oversampling": 1.01},
            r"class '\w+' has \d+ of the 30 samples it needs among the 91 samples that "
            r"max_oversampling = 1\.01 allows: raise it \(--max-oversampling 2\.02\)",
        ),
        (
            {"protocol": "top_k", "oversampling": 1},
            r"class '\w+' has \d+ of the 30 samples it needs among the 90 samples that "
            r"oversampling = 1 allows: raise it \(--oversampling 2\), or lower num_samples",
        ),
        (
            {"min_score": 1.0, "max_oversampling": 2},
            r"has 0 of the 30 samples it needs with a score of 1 or more among the 180",
        ),
        (
            {"min_score": 0.4, "min_distance": 0.9, "max_oversampling": 2},
            r"needs with a score of 0\.4 or more and a distance of 0\.9 or more among the 180",
        ),
    ],
)
def test_a_class_that_stays_short_is_named(make_parts, select, values, message):
    with pytest.raises(UserError, match=message):
        select(make_parts(1, 120, True), 1, 90, **values)


def test_parts_of_another_generator_are_refused(make_parts, select, animals, gaussian, tmp_path):
    folder = make_parts(1, 120)
    fit_generator(animals.path, tmp_path / "other", GeneratorSettings(jitter=1e-2), RUNTIME)
    sample_part(tmp_path / "other", 0, 120, folder / "parts" / "0")
    with pytest.raises(
        UserError,
        match="was sampled from another generator or seed; run 'pyrobust sample' again to",
    ):
        select(folder, 1, 30)


def test_labels_of_other_samples_are_refused(make_parts, select, gaussian):
    folder = make_parts(1, 120)
    sample_part(gaussian, 0, 121, folder / "parts" / "0")
    with pytest.raises(
        UserError,
        match="labels other samples, or was made by another labeller; run 'pyrobust label'",
    ):
        select(folder, 1, 30)


def test_a_gap_between_parts_is_refused(make_parts, select, gaussian, labeller):
    folder = make_parts(1, 120)
    sample_part(gaussian, 1, 121, folder / "parts" / "1")
    label_part(folder / "parts" / "1", labeller, folder / "labels" / "1", "cpu")
    with pytest.raises(
        UserError,
        match="starts at id 121 instead of 120; sample all parts with the same --part-size",
    ):
        select(folder, 2, 30)


def test_a_missing_part_is_named(make_parts, select):
    with pytest.raises(UserError, match=r"parts/1/manifest\.json is missing"):
        select(make_parts(1, 120), 2, 30)

"""The class-conditional Gaussian: its moments, and that a sample depends on its id alone."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from pyrobust.config.generators import GeneratorSettings
from pyrobust.errors import UserError
from pyrobust.generators import gaussian as gaussian_module
from pyrobust.generators.base import GeneratorSpec
from pyrobust.generators.gaussian import GaussianGenerator, _times_lower
from pyrobust.generators.registry import load_generator
from tests.generators.fits import fit_of


def fit(dataset, jitter=1e-4) -> GaussianGenerator:
    return GaussianGenerator.fit(fit_of(dataset, GeneratorSettings(jitter=jitter), dataset.path))


def pixels_of(dataset, label):
    train = dataset.train
    return train.images()[train.labels() == label].reshape(-1, 12) / 255


@pytest.mark.parametrize("label", [0, 1, 2])
def test_many_images_give_mean_and_covariance_of_each_class(animals, label):
    weights = fit(animals).weights
    pixels = pixels_of(animals, label)
    factor = weights[f"factor.{label}"].astype(np.float64)
    np.testing.assert_allclose(weights["mean"][label], pixels.mean(axis=0), rtol=1e-14)
    covariance = np.cov(pixels.T, bias=True) + 1e-4 * np.eye(12)
    np.testing.assert_allclose(factor @ factor.T, covariance, rtol=1e-6, atol=1e-9)
    assert (np.triu(factor, 1) == 0).all()


def test_few_images_give_the_same_covariance(make_animals):
    dataset = make_animals(24)
    weights = fit(dataset).weights
    for label in range(3):
        factor = weights[f"factor.{label}"].astype(np.float64)
        assert factor.shape[1] < 12
        covariance = np.cov(pixels_of(dataset, label).T, bias=True)
        np.testing.assert_allclose(factor @ factor.T, covariance, rtol=1e-5, atol=1e-8)


def test_samples_have_the_moments_of_their_class(make_animals):
    # With 39 images, 36 are for training: as many in each class as an image has pixels.
    for dataset in (make_animals(303), make_animals(24), make_animals(39)):
        samples = fit(dataset).sample(np.arange(12_000), seed=1)
        assert samples.conditions.tolist() == [0, 1, 2] * 4000
        for label in range(3):
            drawn = samples.images[label::3].reshape(-1, 12) / 255
            inside = (drawn > 0).all(axis=0) & (drawn < 1).all(axis=0)
            real = pixels_of(dataset, label)
            assert np.abs(drawn.mean(axis=0) - real.mean(axis=0)).max() < 0.02
            clipped = np.cov(drawn.T) - np.cov(real.T, bias=True)
            assert np.abs(clipped[np.ix_(inside, inside)]).max(initial=0) < 0.01


def test_constant_pixels_need_jitter(make_animals, monkeypatch):
    dataset = make_animals(303)
    monkeypatch.setattr(
        dataset.train, "gather", lambda rows: np.zeros((len(rows), 3, 4, 1), np.uint8)
    )
    with pytest.raises(
        UserError,
        match=r"the covariance of class 'ant' is singular with jitter 0; increase it \(--jitter",
    ):
        fit(dataset, jitter=0)
    assert fit(dataset, jitter=1e-6).sample(np.arange(9), 0).images.max() == 1


@pytest.mark.parametrize("count", [24, 303])
def test_jitter_is_a_part_of_the_weights(make_animals, tmp_path, count):
    """With few images of a class it is in no factor, and still decides the images."""
    generators = [fit(make_animals(count), jitter) for jitter in (1e-4, 1e-2)]
    for number, generator in enumerate(generators):
        generator.save(tmp_path / str(number))
    hashes = {generator.provenance()["generator_sha256"] for generator in generators}
    assert len(hashes) == 2
    first, second = (generator.sample(np.arange(300), 0).images for generator in generators)
    assert (first != second).mean() > 0.5
    again = load_generator(tmp_path / "1").sample(np.arange(300), 0).images
    np.testing.assert_array_equal(again, second)


# A block of three classes has 750 images.
CUTS = {
    "one by one": [range(k, k + 1) for k in range(2, 9)],
    "across blocks": [range(740, 760), range(760, 1510)],
    "shuffled": [[1599, 3, 750, 749, 3]],
    "backwards": [range(1600, 740, -7)],
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_an_image_does_not_depend_on_the_batch(gaussian, cut):
    generator = load_generator(gaussian)
    whole = generator.sample(np.arange(1601), seed=0)
    for ids in cut:
        part = generator.sample(np.array(ids), seed=0)
        np.testing.assert_array_equal(part.images, whole.images[list(ids)])
        np.testing.assert_array_equal(part.conditions, whole.conditions[list(ids)])


def test_an_image_does_not_depend_on_the_number_of_threads(gaussian, monkeypatch):
    generator = load_generator(gaussian)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(gaussian_module, "num_threads", lambda threads=threads: threads)
        with threadpool_limits(threads):
            results.append(generator.sample(np.arange(50), seed=0).images)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize(
    ("num_classes", "image_shape", "expected"),
    [(10, (32, 32, 3), 2500), (100, (32, 32, 3), 10_000), (200, (64, 64, 3), 5000)],
)
def test_blocks_stay_small_and_divide_a_part(num_classes, image_shape, expected):
    names = tuple(str(k) for k in range(num_classes))
    spec = GeneratorSpec(GeneratorSettings(), "animals", "", names, image_shape)
    assert GaussianGenerator(spec, {}).block_size == expected


def test_another_seed_gives_other_images(gaussian):
    generator = load_generator(gaussian)
    first, second = (generator.sample(np.arange(30), seed).images for seed in (0, 1))
    assert (first != second).mean() > 0.9


def test_fitting_twice_gives_equal_weights(animals):
    first, second = fit(animals).weights, fit(animals).weights
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


@pytest.mark.parametrize("dimension", [1, 15, 16, 17, 48, 100])
def test_strips_multiply_like_the_whole_factor(dimension):
    rng = np.random.default_rng(dimension)
    factor = np.tril(rng.standard_normal((dimension, dimension))).astype(np.float32)
    noise = rng.standard_normal((5, dimension))
    np.testing.assert_allclose(
        _times_lower(noise, factor), noise @ factor.T, rtol=1e-12, atol=1e-12
    )


def test_a_changed_weight_is_never_sampled_from(animals, tmp_path):
    fit(animals).save(tmp_path)
    path = tmp_path / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        UserError,
        match=r"weights\.safetensors is missing or does not match its SHA-256; run 'pyrobust",
    ):
        load_generator(tmp_path)


def test_what_is_loaded_is_what_was_saved(animals, tmp_path):
    fitted = fit(animals)
    fitted.save(tmp_path)
    loaded = load_generator(tmp_path)
    assert loaded.spec == fitted.spec
    assert loaded.provenance() == fitted.provenance()
    ids = np.arange(40)
    np.testing.assert_array_equal(loaded.sample(ids, 0).images, fitted.sample(ids, 0).images)

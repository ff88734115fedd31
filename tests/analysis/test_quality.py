import json
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from pyrobust.analysis.inception import SHA256
from pyrobust.analysis.quality import measure_quality
from pyrobust.config.analysis import QualitySettings
from pyrobust.data.feature_set import FeatureSet
from pyrobust.errors import UserError
from tests.analysis.making import make_features, run_verb


def make_set(
    path: Path, count: int, seed: int, extractor: str = "labeller", sha256: str = "0" * 64
) -> FeatureSet:
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, 8)) + 0.2 * seed
    labels = random.integers(0, 2, count)
    return make_features(path, features, labels, features[:, :4], extractor, sha256)


def measure(one: FeatureSet, other: FeatureSet, output: Path, **settings: int) -> dict[str, object]:
    measure_quality(one, other, output, QualitySettings(**settings))
    result: dict[str, object] = json.loads((output / "quality.json").read_text())
    return result


def test_a_set_compared_with_itself_has_no_distance(tmp_path: Path) -> None:
    features = make_set(tmp_path / "a", 400, 0)
    found = measure(features, features, tmp_path)
    assert found["fid"] == pytest.approx(0, abs=1e-12)
    assert found["manifold"] == {
        "precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0, "nearest_k": 5,
    }  # fmt: skip


def test_shifted_features_are_farther_away(tmp_path: Path) -> None:
    sets = [make_set(tmp_path / str(seed), 500, seed) for seed in range(3)]
    near, far = (measure(sets[0], other, tmp_path) for other in sets[1:])
    assert 0 < near["fid"] < far["fid"]  # type: ignore[operator]
    assert near["num_images"] == near["num_original"] == 500


def test_the_labellers_space_is_named(tmp_path: Path) -> None:
    features = make_set(tmp_path / "a", 100, 0)
    found = measure(features, features, tmp_path)
    assert found["extractor"] == "labeller"
    assert found["comparable_with_published"] is False
    assert "generators of one data set and labeller" in found["notes"][0]  # type: ignore[index]


def test_only_the_published_inception_is_comparable(tmp_path: Path) -> None:
    features = make_set(tmp_path / "a", 100, 0, "inception", SHA256)
    found = measure(features, features, tmp_path)
    assert found["comparable_with_published"] is True
    assert found["notes"] == []


def test_too_few_images_for_the_width_are_noted(tmp_path: Path) -> None:
    features = make_set(tmp_path / "a", 8, 0, "inception", SHA256)
    found = measure(features, features, tmp_path, splits=2)
    assert found["notes"] == ["8 images do not span 8 features: fid is biased"]


def test_a_set_smaller_than_its_splits_is_refused(tmp_path: Path) -> None:
    features = make_set(tmp_path / "a", 9, 0)
    with pytest.raises(
        UserError, match="a has 9 images; splits 10 and nearest_k 5 require at least 10"
    ):
        measure(features, features, tmp_path)


def test_features_without_logits_are_refused(tmp_path: Path) -> None:
    features = make_features(tmp_path / "a", np.random.default_rng(0).random((20, 4)))
    with pytest.raises(UserError, match="--extractor labeller or inception"):
        measure(features, features, tmp_path)


def test_the_number_of_threads_changes_no_byte(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((700, 400)) @ random.standard_normal((400, 400))
    sets = [
        make_features(tmp_path / str(half), features[half::2], logits=features[half::2, :5])
        for half in range(2)
    ]
    results = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            measure(*sets, tmp_path)
        results.append((tmp_path / "quality.json").read_bytes())
    assert results[0] == results[1]


def test_the_verb_writes_the_same(tmp_path: Path) -> None:
    sets = [make_set(tmp_path / str(seed), 60, seed) for seed in range(2)]
    run_verb(
        "quality",
        original=sets[0].path,
        generated=sets[1].path,
        output=tmp_path / "verb",
        splits=4,
    )
    measure(sets[0], sets[1], tmp_path / "call", splits=4)
    assert (tmp_path / "verb/quality.json").read_bytes() == (
        tmp_path / "call/quality.json"
    ).read_bytes()

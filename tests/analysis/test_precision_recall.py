import numpy as np
import pytest
from prdc import compute_prdc

from pyrobust.analysis.precision_recall import manifold_scores


def test_a_small_case() -> None:
    original = np.array([[0.0], [1.0], [10.0]])  # radii 1, 1 and 9 for k = 1
    generated = np.array([[0.5], [100.0], [101.0]])  # radii 99.5, 1 and 1
    assert manifold_scores(original, generated, k=1).to_json() == {
        "precision": 1 / 3,
        "recall": 1.0,
        "density": 2 / 3,
        "coverage": 2 / 3,
    }


@pytest.mark.parametrize(
    ("sizes", "dimensions", "shift", "k"),
    [((300, 300), 4, 0.0, 5), ((1200, 500), 16, 0.5, 3), ((200, 1500), 2, 2.0, 1)],
)
def test_it_equals_prdc(sizes: tuple[int, int], dimensions: int, shift: float, k: int) -> None:
    random = np.random.default_rng(0)
    original, generated = (random.standard_normal((size, dimensions)) for size in sizes)
    generated += shift
    expected = compute_prdc(original, generated, k)
    assert manifold_scores(original, generated, k).to_json() == pytest.approx(expected, rel=1e-12)


def test_sets_whose_neighbours_are_all_copies_are_noted():
    rng = np.random.default_rng(0)
    few = np.repeat(rng.standard_normal((3, 5)).astype(np.float32), 4, axis=0)
    scores = manifold_scores(few, few, k=3)
    assert (scores.original_copies, scores.generated_copies) == (12, 12)
    assert scores.notes(3)[0].startswith("12 original images have 3 copies in their own set")
    assert set(scores.to_json()) == {"precision", "recall", "density", "coverage"}
    different = manifold_scores(*rng.standard_normal((2, 12, 5)), k=3)
    assert different.notes(3) == []

"""Samples and Algorithm 1 from Python are those of the stages."""

import numpy as np
import pytest
import torch

import pyrobust


def test_planted_copies_are_found() -> None:
    generator = np.random.default_rng(0)
    train, test = generator.normal(size=(2, 40, 12))
    generated = np.concatenate([train[:10] + 1e-4, test[:5] + 1e-4, train[:10] + 2e-4])
    found = pyrobust.complementarity(train, torch.from_numpy(test), generated)
    # Samples 0-9 and 15-24 lie beside the same training images, nearer to each other than to them.
    assert found.nearest["test"][10:15].tolist() == [0, 1, 2, 3, 4]
    assert found.nearest["train"][:10].tolist() == list(range(10))
    assert sum(found.complementarity.values()) == pytest.approx(1)
    assert found.complementarity["test"] == pytest.approx(5 / 25)
    assert found.coverage["train"] >= 10 / 40


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ((np.zeros((4, 3)), np.zeros((4, 2)), np.zeros((4, 3))), "different widths"),
        ((np.zeros(4), np.zeros((4, 3)), np.zeros((4, 3))), r"train features have shape \(4,\)"),
        ((np.full((4, 3), np.nan), np.ones((4, 3)), np.ones((4, 3))), "not all finite"),
    ],
)
def test_features_that_do_not_fit_are_refused(
    features: tuple[np.ndarray, ...], message: str
) -> None:
    with pytest.raises(pyrobust.UserError, match=message):
        pyrobust.complementarity(*features)


def test_numbers_out_of_range_are_refused() -> None:
    features = [np.eye(4) for _ in range(3)]
    for wrong in ({"components": 0}, {"memory_gb": 0}, {"seed": "a"}):
        with pytest.raises(pyrobust.UserError, match=f"{next(iter(wrong))} is"):
            pyrobust.complementarity(*features, **wrong)  # type: ignore[arg-type]
    for number in (0, "many"):
        with pytest.raises(pyrobust.UserError, match=f"count is {number!r}"):
            pyrobust.sample("nowhere", number)  # type: ignore[arg-type]
    with pytest.raises(pyrobust.UserError, match="image_shape"):
        pyrobust.load(torch.nn.Flatten(), (3,))

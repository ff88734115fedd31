import numpy as np
import pytest

from pyrobust.data.labels import traded_classes


@pytest.mark.parametrize(
    ("confusion", "traded"),
    [
        ([[90, 5, 5], [5, 90, 5], [0, 0, 100]], {}),
        ([[90, 5, 5], [5, 10, 85], [0, 60, 40]], {1: 2, 2: 1}),
        ([[0, 99, 1], [1, 0, 99], [99, 1, 0]], {0: 1, 1: 2, 2: 0}),
        ([[90, 5, 5], [90, 5, 5], [90, 5, 5]], {}),  # a classifier that knows one class
        ([[90, 5, 5], [5, 45, 50], [0, 50, 50]], {}),  # one that is not sure
        ([[0, 29, 0], [29, 0, 0], [0, 0, 29]], {}),  # too few images
    ],
)
def test_classes_trade_places_where_most_images_say_so(confusion, traded):
    assert traded_classes(np.array(confusion)) == traded

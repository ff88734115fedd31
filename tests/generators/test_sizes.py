"""Image sizes that networks take."""

import pytest

from pyrobust.errors import UserError
from pyrobust.generators.trained import square_side


@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_powers_of_two_are_taken(side: int) -> None:
    assert square_side((side, side, 3)) == side


@pytest.mark.parametrize("shape", [(4, 4, 1), (12, 12, 3), (28, 28, 1), (8, 16, 3), (1, 1, 1)])
def test_other_sizes_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match=f"images are {shape[0]}×{shape[1]}, but .* 8×8, 16×16"):
        square_side(shape)

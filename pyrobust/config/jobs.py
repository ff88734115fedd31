"""How the settings cut the work into jobs; the workflow and its plan agree on it."""

import math

from pyrobust.errors import UserError

# A workflow of more would take hours to plan, and schedulers would not take it.
_MAX_PARTS = 100_000


def num_parts(num_samples: int, oversampling: float, part_size: int) -> int:
    """Return how many sampling jobs a selection starts from; each makes `part_size` images.

    Raises:
        UserError: there would be too many.
    """
    count = math.ceil(num_samples * oversampling / part_size)
    if count > _MAX_PARTS:
        raise UserError(
            f"num_samples is {num_samples}, which takes {count} parts of {part_size} images, "
            f"expected at most {_MAX_PARTS} parts: raise part_size of the generator"
        )
    return count

"""How settings divide the work into jobs, for the workflow and for plans."""

import math

from pyrobust.errors import UserError

# Snakemake would take hours to plan more, and schedulers would reject them.
_MAX_PARTS = 100_000


def num_parts(num_samples: int, oversampling: float, part_size: int) -> int:
    """Return the number of sampling jobs for a selection, `part_size` images each.

    Raises:
        UserError: too many.
    """
    count = math.ceil(num_samples * oversampling / part_size)
    if count > _MAX_PARTS:
        raise UserError(
            f"num_samples is {num_samples}, which requires {count} parts of {part_size} images, "
            f"more than the maximum of {_MAX_PARTS}; increase the generator's part_size"
        )
    return count

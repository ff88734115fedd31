"""How the settings cut the work into jobs; the workflow and its plan agree on it."""

import math


def num_parts(num_samples: int, oversampling: float, part_size: int) -> int:
    """Return how many sampling jobs a selection starts from; each makes `part_size` images."""
    return math.ceil(num_samples * oversampling / part_size)

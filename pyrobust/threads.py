"""Threads of this process, and of several that share its processors."""

import os
import re

_OPENMP = "OMP_NUM_THREADS"

# MKL's variable overrides OpenMP's in torch, OpenBLAS's in NumPy.
_OVERRIDES = ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def num_threads(variable: str = _OPENMP) -> int:
    """Return the number in a variable such as OMP_NUM_THREADS, which schedulers set for each job.

    Without a number, return the usable processors.
    """
    # OpenMP also accepts one number for each level of nested regions: 4,2.
    stated = re.match(r"\s*0*([1-9][0-9]{0,8})\s*(,|$)", os.environ.get(variable, ""))
    return int(stated[1]) if stated else len(os.sched_getaffinity(0))


def divided_threads(count: int) -> dict[str, str]:
    """Return the variables by which each of `count` processes gets its part of the threads."""
    cores = len(os.sched_getaffinity(0))
    names = (_OPENMP, *(name for name in _OVERRIDES if name in os.environ))
    return {name: str(max(1, min(cores, num_threads(name)) // count)) for name in names}

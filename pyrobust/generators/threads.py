"""How many threads this process may keep busy."""

import os


def num_threads() -> int:
    """Return OMP_NUM_THREADS, which schedulers set for each job, else the usable processors."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else len(os.sched_getaffinity(0))

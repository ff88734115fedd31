"""Measurements in processes of their own, whose peak of memory is theirs alone."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def add_one(parser: argparse.ArgumentParser, *metavar: str) -> None:
    """Add the option by which a script asks itself for one measurement."""
    parser.add_argument("--one", nargs=len(metavar), metavar=metavar, help="internal")


def in_own_process(
    one: Sequence[object], options: Sequence[object], threads: int = 2
) -> dict[str, Any]:
    """Run this script with `--one` and `options`; return what it prints last, which is JSON."""
    command = [sys.executable, sys.argv[0], "--one", *map(str, one), *map(str, options)]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(root)},
    )  # fmt: skip
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def measured(run: Callable[[], object], repeats: int = 1) -> dict[str, float]:
    """Return seconds on the wall and of the processor, the least of each, and MB at the peak.

    The peak is what the runs add to what is resident before them.
    """
    before = _memory_mb("VmRSS")
    times = [_timed(run) for _ in range(repeats)]
    seconds, cpu_seconds = (min(column) for column in zip(*times, strict=True))
    peak = _memory_mb("VmHWM") - before
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak}


def free_bytes() -> int:
    """Return the memory that this machine has free."""
    return 1024 * _kilobytes("/proc/meminfo", "MemAvailable")


def _timed(run: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def _memory_mb(key: str) -> float:
    # getrusage does not help: its peak starts at that of the parent process.
    return _kilobytes("/proc/self/status", key) / 2**10


def _kilobytes(path: str, key: str) -> int:
    lines = Path(path).read_text().splitlines()
    (kilobytes,) = (int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
    return kilobytes

"""Claim: exact, re-ranked nearest neighbours cost less than FAISS's inexact ones, in bounded
memory, and grow as the number of distances.

    python benchmarks/neighbours.py                       # two minutes on two cores
    python benchmarks/neighbours.py --sizes 100000 300000 1000000 --self-sizes 100000 300000 \\
        --memory-gb 2 --repeats 2                         # half an hour
    python benchmarks/neighbours.py --self-sizes 1000000 --tasks self --methods ours \\
        --memory-gb 2 --repeats 1 --output self-1m.json   # twenty minutes: 10¹² distances

Each measurement runs in a separate process, and the methods take turns, since the speed of a
shared machine drifts; the fastest of the repeats counts. `real` searches generated vectors among
real ones, `self` among themselves; `paper` is Algorithm 1 as the paper runs it, 10K samples among
the 30K images of its three sets. `faiss` is IndexFlatL2 the way it is commonly called: k = 1, and
k = 2 among themselves, where the first hit is taken for the vector itself. It runs at every size,
and so does scikit-learn's brute force up to `--patience` distances. prdc holds a matrix of all
distances and runs at the largest size whose two copies fit into half of this machine's free memory.
Where there is a GPU, ours searches on it, and FAISS on the CPU; peaks are those of the host's
memory alone.
"""

import argparse
import json
import math
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from own_process import add_one, free_bytes, in_own_process, measured

from pyrobust.files import write_json

RESULT = Path(__file__).parent / "results" / "neighbours.json"
DIMENSIONS = 100  # PCA components of Algorithm 1
PAPER = 10_000  # images of each set of Algorithm 1; --paper-size has others
TASKS = ("paper", "real", "self")
BLOCK = 8192


def main() -> None:
    """Run every measurement and write the table."""
    arguments = _arguments()
    if arguments.one:
        method, task, size = arguments.one
        print(json.dumps(_measure(method, task, int(size), arguments)))
        return
    rows: list[dict[str, Any]] = []
    facts = {
        "machine": {"processor": _processor(), "threads": arguments.threads, "gpus": _gpus()},
        "versions": _versions(arguments.methods),
        "dimensions": DIMENSIONS,
        "num_real": arguments.num_real,
        "memory_gb": arguments.memory_gb,
        "repeats": arguments.repeats,
    }
    found: dict[str, Any] = {}
    for task in arguments.tasks:
        for size, methods in _sizes(task, arguments).items():
            rows += _in_turns(methods, task, size, arguments)
            found = {
                "ratios": _ratios(rows),
                "exponents": {t: _exponent(rows, t) for t in arguments.tasks if t != "paper"},
                "peak_over_budget": _peak_over_budget(rows, arguments.memory_gb),
            }
            # What is measured is kept, whatever happens next.
            write_json(arguments.output, {**facts, "rows": rows, **found})
    print(json.dumps(found, indent=2))


def _in_turns(
    methods: Sequence[str], task: str, size: int, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return the fastest measurement of each method."""
    fastest: dict[str, dict[str, Any]] = {}
    for _ in range(arguments.repeats):
        for method in methods:
            if method in arguments.methods:
                row = _row(method, task, size, arguments)
                if method not in fastest or row["seconds"] < fastest[method]["seconds"]:
                    fastest[method] = row
    return list(fastest.values())


def _sizes(task: str, arguments: argparse.Namespace) -> dict[int, tuple[str, ...]]:
    """Return the sizes of a task, each with the methods that can do it."""
    sizes = {
        "paper": [arguments.paper_size],
        "real": arguments.sizes,
        "self": arguments.self_sizes or arguments.sizes,
    }[task]
    found: dict[int, tuple[str, ...]] = {}
    for size in sizes:
        others = _num_points(task, size, arguments)
        slow = ("scikit-learn",) if size * others <= arguments.patience else ()
        found[size] = ("ours", "faiss", *slow)
    if task == "self" and "prdc" in arguments.methods:
        # prdc has no search between two sets, but for all its scores at once.
        largest = min(max(sizes), int(math.sqrt(free_bytes() / 2 / (2 * 8))) // 1000 * 1000)
        found[largest] = (*found.get(largest, ("ours",)), "prdc")
    return found


def _num_points(task: str, size: int, arguments: argparse.Namespace) -> int:
    """Return among how many vectors a task of this size searches."""
    return {"paper": 3 * arguments.paper_size, "real": arguments.num_real, "self": size}[task]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--self-sizes", type=int, nargs="+", help="of self; --sizes by default")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--methods", nargs="+", default=list(_METHODS), choices=list(_METHODS))
    parser.add_argument("--patience", type=float, default=1e10, help="distances of scikit-learn")
    parser.add_argument("--paper-size", type=int, default=PAPER)
    parser.add_argument("--num-real", type=int, default=60_000)
    parser.add_argument("--memory-gb", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument("--output", type=Path, default=RESULT)
    add_one(parser, "METHOD", "TASK", "SIZE")
    return parser.parse_args()


def _row(method: str, task: str, size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    options: tuple[object, ...] = (
        *("--num-real", arguments.num_real, "--memory-gb", arguments.memory_gb),
        *("--paper-size", arguments.paper_size),
    )
    row = in_own_process((method, task, size), options, arguments.threads)
    print(
        f"{method:13} {task:5} {size:>9,}  {row['seconds']:9.2f} s"
        f"  {row['cpu_seconds']:9.2f} s of processor  {row['peak_mb']:7.0f} MB"
    )
    return row


def _measure(method: str, task: str, size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    queries = _vectors(size, seed=0)
    num_points = _num_points(task, size, arguments)
    points = queries if task == "self" else _vectors(num_points, seed=1)
    run = _METHODS[method](queries, points, arguments)
    # Half a second of the smallest, in which anything disturbs.
    row = measured(run, repeats=5 if task == "paper" else 1)
    rate = size * num_points / row["seconds"]
    return {"method": method, "task": task, "size": size, **row, "distances_per_second": rate}


def _ours(queries: Any, points: Any, arguments: argparse.Namespace) -> Callable[[], object]:
    from pyrobust.analysis.exact_search import nearest_neighbours

    nearest_neighbours(queries[:2000], points[:2000], 1 << 28)  # loads the libraries
    memory = int(arguments.memory_gb * 1e9)
    own = np.arange(points.shape[0]) if queries is points else None
    return lambda: nearest_neighbours(queries, points, memory, own)


def _faiss(queries: Any, points: Any, _: argparse.Namespace) -> Callable[[], object]:
    import faiss

    def search(queries: np.ndarray, points: np.ndarray, k: int) -> None:
        index = faiss.IndexFlatL2(DIMENSIONS)
        index.add(points)
        index.search(queries, k)

    def run() -> None:
        everything = points[:]
        if queries is points:
            search(everything, everything, 2)
        else:
            search(queries[:], everything, 1)

    search(queries[:2000], points[:2000], 1)  # loads the libraries
    return run


def _scikit_learn(queries: Any, points: Any, _: argparse.Namespace) -> Callable[[], object]:
    from sklearn.neighbors import NearestNeighbors

    def run() -> None:
        search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points[:])
        search.kneighbors(None if queries is points else queries[:])

    return run


def _prdc(queries: Any, points: Any, _: argparse.Namespace) -> Callable[[], object]:
    from prdc.prdc import compute_nearest_neighbour_distances

    return lambda: compute_nearest_neighbour_distances(points[:], nearest_k=1)


_METHODS = {"ours": _ours, "faiss": _faiss, "scikit-learn": _scikit_learn, "prdc": _prdc}
_PACKAGES = {
    "ours": ("torch", "numpy"),
    "faiss": ("faiss-cpu",),
    "scikit-learn": ("scikit-learn",),
    "prdc": ("prdc",),
}


def _vectors(count: int, seed: int) -> Any:
    """Return vectors in a file, like projected features: falling variances, classes apart."""
    from pyrobust.analysis.neighbours import ScratchRows

    random = np.random.default_rng(seed)
    centres = np.random.default_rng(2).standard_normal((10, DIMENSIONS))
    spread = (1 + np.arange(DIMENSIONS)) ** -0.5

    def blocks() -> Any:
        for first in range(0, count, BLOCK):
            size = min(BLOCK, count - first)
            values = random.standard_normal((size, DIMENSIONS))
            yield (values + centres[random.integers(0, 10, size)]) * spread

    return ScratchRows(blocks(), DIMENSIONS, Path("/tmp"))


def _ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the processor time of each other method over ours, where both ran.

    Other work on the machine disturbs processor time less than the time on the wall.
    """
    ours = {(r["task"], r["size"]): r["cpu_seconds"] for r in rows if r["method"] == "ours"}
    return {
        f"{row['method']}, {row['task']}, {row['size']}": round(
            row["cpu_seconds"] / ours[row["task"], row["size"]], 3
        )
        for row in rows
        if row["method"] != "ours" and (row["task"], row["size"]) in ours
    }


def _peak_over_budget(rows: list[dict[str, Any]], memory_gb: float) -> float | None:
    """Return our highest peak of memory as a share of the budget, `--memory-gb`."""
    peaks = [row["peak_mb"] for row in rows if row["method"] == "ours"]
    return round(max(peaks) * 2**20 / (memory_gb * 1e9), 3) if peaks else None


def _exponent(rows: list[dict[str, Any]], task: str) -> float | None:
    """Return b of cpu_seconds = a * size^b, if there are several sizes."""
    mine = {
        row["size"]: row["cpu_seconds"]
        for row in rows
        if (row["method"], row["task"]) == ("ours", task)
    }
    if len(mine) < 2:
        return None
    slope, _ = np.polyfit(np.log(list(mine)), np.log(list(mine.values())), 1)
    return round(float(slope), 3)


def _versions(methods: Sequence[str]) -> dict[str, str]:
    """Return the versions of the packages that the methods come from."""
    packages = [*_PACKAGES["ours"], *(name for method in methods for name in _PACKAGES[method])]
    return {name: version(name) for name in dict.fromkeys(packages)}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


if __name__ == "__main__":
    main()

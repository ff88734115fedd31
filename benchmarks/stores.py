"""Claim: any number of samples is written, selected, verified and read in little memory, at a fair
share of the disk's own speed.

    python benchmarks/stores.py --folder /var/tmp                  # a minute, 4 GB of disk
    python benchmarks/stores.py --folder /var/tmp --sizes 1000000 8000000     # 11 minutes, 50 GB
    python benchmarks/stores.py --folder /var/tmp --sizes 1000000 10000000 100000000 \\
        --image-size 8 --channels 1                                # 8 minutes, 20 GB

`ours` writes parts with pseudo-labels as `pyrobust sample` and `label` do (random pixels and
scores: no network runs), keeps four fifths by `pyrobust select` (the best of each class, shuffled),
verifies the result, and gathers random batches from it, whose files were all read before. `in
memory` does the same as public code does it, with one `.npz` file that is loaded whole; it runs
where that fits twice into half of the free memory. `bare` is the limit: writing so many bytes,
copying them, hashing them, and batches from one memory-mapped file; of more than 4 GB it takes the
rate. Everything written is flushed to the disk. Each measurement runs in a separate process.

Prints a table and writes `benchmarks/results/stores.json`.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plain_stores
from own_process import add_one, free_bytes, in_own_process, measured
from store_work import BATCH, CLASSES, NUM_BATCHES, PART, SHARE, Work, prepare, take_batches

RESULT = Path(__file__).parent / "results" / "stores.json"


def our_write(work: Work) -> Callable[[], object]:
    """Write parts and their pseudo-labels."""
    from pyrobust.data.labels import LabelWriter
    from pyrobust.data.store import SampleStore, StoreWriter
    from pyrobust.generators.pseudo_labels import Labeller
    from pyrobust.generators.registry import load_generator

    origin = load_generator(work.path("generator")).provenance()
    labeller = Labeller.load(work.path("labeller"), work.image_shape, len(CLASSES), "cpu")

    def run() -> None:
        for part in range(work.num_parts):
            first, parts = part * PART, work.path("parts", part)
            count = min(PART, work.size - first)
            images = StoreWriter(
                parts, work.image_shape, CLASSES, count, origin, "pyrobust sample", first_id=first
            )
            for values, labels, _ in work.pieces(count, seed=part):
                images.append(values, labels)
            images.finish()
            asked = labeller.provenance(SampleStore.open(parts))
            known = LabelWriter(work.path("labels", part), CLASSES, count, first, asked, True)
            for _, labels, scores in work.pieces(count, seed=part):
                known.append(labels, scores, scores)
            known.finish()

    return run


def our_selection(work: Work) -> Callable[[], object]:
    """Keep the best of each class, shuffled."""
    from pyrobust.config.data import SelectionSettings
    from pyrobust.generators.selecting import select_parts

    settings = SelectionSettings(protocol="top_k", oversampling=1 / SHARE)
    return lambda: select_parts(
        work.path("generator"), work.path("labeller"), work.path("parts"), work.path("labels"),
        work.num_parts, work.kept, work.path("kept"), settings, "cpu",
    )  # fmt: skip


def our_verification(work: Work) -> Callable[[], object]:
    """Compare every file of the selection with its hash."""
    from pyrobust.data.store import SampleStore

    return SampleStore.open(work.path("kept")).verify


def our_reading(work: Work) -> Callable[[], object]:
    """Gather random batches; each file has met its hash before, as in a training's first pass."""
    from pyrobust.data.store import SampleStore

    store = SampleStore.open(work.path("kept"))
    store.verify()
    return lambda: take_batches(work, store.gather)


STAGES = {
    "write": {
        "ours": our_write,
        "in memory": plain_stores.write_in_memory,
        "bare": plain_stores.bare_write,
    },
    "select": {
        "ours": our_selection,
        "in memory": plain_stores.select_in_memory,
        "bare": plain_stores.bare_copy,
    },
    "verify": {"ours": our_verification, "bare": plain_stores.bare_hashes},
    "read": {
        "ours": our_reading,
        "in memory": plain_stores.read_in_memory,
        "bare": plain_stores.bare_reading,
    },
}


def measure(method: str, stage: str, work: Work) -> dict[str, Any]:
    """Return one row of the table."""
    row: dict[str, Any] = {"size": work.size, "stage": stage, "method": method}
    row |= measured(STAGES[stage][method](work))
    if stage == "read":
        count = NUM_BATCHES * BATCH
    elif method == "bare":
        count = round(plain_stores.bare_bytes(work) / bytes_an_image(stage, work))
    else:
        count = work.size if stage == "write" else work.kept
    return row | {"images": count, "images_per_second": round(count / row["seconds"])}


def bytes_an_image(stage: str, work: Work) -> float:
    """Return what ours has on the disk for each image, with labels, scores and ids."""
    folders, count = (
        (("parts", "labels"), work.size) if stage == "write" else (("kept",), work.kept)
    )
    files = (path for folder in folders for path in work.path(folder).rglob("*.npy"))
    return sum(path.stat().st_size for path in files) / count


def fits(method: str, work: Work) -> bool:
    """Tell whether a method can do this size: the images and what is kept of them, in memory."""
    return method != "in memory" or 2 * work.size * work.image_bytes < free_bytes() / 2


def run_size(work: Work, options: list[object]) -> Iterator[dict[str, Any]]:
    """Measure all stages of a size; a file goes when nothing reads it any more."""
    prepare(work)
    for stage, methods in STAGES.items():
        for method in methods:
            if fits(method, work):
                row = in_own_process((method, stage, work.size, work.folder), options)
                rate, peak = f"{row['images_per_second']:>12,}/s", f"{row['peak_mb']:8,.0f} MB"
                print(f"{work.size:>11,}  {stage:7} {method:10} {rate} {peak}", flush=True)
                yield row
        work.path("bare").unlink(missing_ok=True)
        if stage == "select":
            shutil.rmtree(work.path("parts"))
            work.path("all.npz").unlink(missing_ok=True)


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return our speed over that of each other method."""
    ours = {(r["stage"], r["size"]): r["images_per_second"] for r in rows if r["method"] == "ours"}
    return {
        f"{row['stage']}, {row['size']}, {row['method']}": round(
            ours[row["stage"], row["size"]] / row["images_per_second"], 3
        )
        for row in rows
        if row["method"] != "ours"
    }


def main() -> None:
    """Measure all sizes, print the table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="on the disk that is measured")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 300_000])
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULT)
    add_one(parser, "METHOD", "STAGE", "SIZE", "FOLDER")
    arguments = parser.parse_args()
    image_shape = (arguments.image_size, arguments.image_size, arguments.channels)
    if arguments.one:
        method, stage, size, folder = arguments.one
        print(json.dumps(measure(method, stage, Work(Path(folder), int(size), image_shape))))
        return

    from pyrobust.cost import device_name
    from pyrobust.files import write_json

    options = ["--image-size", arguments.image_size, "--channels", arguments.channels]
    rows: list[dict[str, Any]] = []
    facts = {
        "machine": f"{device_name('cpu')}, {free_bytes() / 2**30:.0f} GiB of memory free",
        "versions": {"numpy": np.__version__},
        "image_shape": image_shape,
        "share_kept": SHARE,
    }
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            for row in run_size(Work(Path(folder), size, image_shape), options):
                rows.append(row)
                # What is measured is kept, whatever happens next.
                write_json(arguments.output, {**facts, "rows": rows, "ratios": ratios(rows)})
    print(json.dumps(ratios(rows), indent=2))


if __name__ == "__main__":
    main()

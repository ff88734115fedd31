"""Claims: each `tiny` generator learns digits in minutes, and all trained ones beat the Gaussian.

    snakemake --cores all results/digits_ddpm.json
    OMP_NUM_THREADS=1 python benchmarks/generators.py --output results/tiny_generators

The first command makes the data set, the labeller and the features of the training images. The
second fits a generator of each type as the workflow does and measures the Fréchet distance of its
samples from the training images, on the labeller's features: it cannot be compared with published
FIDs. Minutes are processor time since the last start, which other work on the machine hardly
changes.

Prints each row and writes it to `benchmarks/results/generators.json`; rows of other types stay. An
interrupted run resumes.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from labeller_distance import LabellerDistance

from pyrobust.config import parse_settings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.cost import device_name
from pyrobust.data.dataset import Dataset
from pyrobust.files import read_json, write_json
from pyrobust.generators.fitting import fit_generator
from pyrobust.generators.registry import load_generator
from pyrobust.training.runtime import Runtime

RESULTS = Path(__file__).parent / "results"
DEVICE = torch.device("cpu")

# Samplers of 1,000 steps would take most of the time.
SETTINGS: dict[str, dict[str, Any]] = {
    "gaussian": {"jitter": 1e-4},
    "ddpm": {"preset": "tiny", "sampler": "dpm_solver", "sampling_steps": 20},
    "edm": {"preset": "tiny"},
    "biggan": {"preset": "tiny"},
    "vdvae": {"preset": "tiny"},
    "stylegan2": {"preset": "tiny"},
}


def measure(kind: str, distance: LabellerDistance, options: argparse.Namespace) -> dict[str, Any]:
    """Fit a generator, and return its minutes and the distance of its samples."""
    folder = options.output / kind
    values: dict[str, Any] = {"type": kind, **SETTINGS[kind]}
    if options.training_steps and kind != "gaussian":
        values["training_steps"] = options.training_steps
    settings = parse_settings(GeneratorSettings, values)
    started = time.process_time()
    fit_generator(
        options.project / "resources/datasets/digits", folder, settings, Runtime(trackers=())
    )
    minutes = (time.process_time() - started) / 60
    generator = load_generator(folder)
    images = np.concatenate(
        [
            generator.sample(np.arange(first, first + generator.block_size), seed=0).images
            for first in range(0, options.num_samples, generator.block_size)
        ]
    )
    return {
        "type": kind,
        "training_steps": None if kind == "gaussian" else settings.training_steps,
        "fit_processor_minutes": round(minutes, 2),
        "fid": round(distance(images[: options.num_samples]), 3),
    }


def add_row(path: Path, row: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write the results with this row in place of an older one of its type."""
    before = read_json(path, "benchmarks/generators.py") if path.is_file() else {}
    rows = [other for other in before.get("rows", []) if other["type"] != row["type"]]
    order = list(SETTINGS)
    rows = sorted([*rows, row], key=lambda other: order.index(other["type"]))
    write_json(path, {**before, **facts, "rows": rows})


def main() -> None:
    """Measure all types, print the table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=Path(), help="where snakemake ran")
    parser.add_argument("--output", type=Path, required=True, help="folder of the generators")
    parser.add_argument("--types", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--num-samples", type=int, default=5000)
    parser.add_argument("--training-steps", type=int, help="of each type; those of the preset")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder that the numbers are written to"
    )
    options = parser.parse_args()
    results = options.project / "results"
    distance = LabellerDistance(
        results / "labellers/digits/digits", results / "features/digits/digits/small/train", DEVICE
    )
    test = Dataset.open(options.project / "resources/datasets/digits").test
    facts = {
        "machine": f"{device_name(str(DEVICE))}, torch {torch.__version__}",
        "extractor": distance.description,
        "num_samples": options.num_samples,
        "num_original": distance.num_original,
        "settings": SETTINGS,
        "fid_of_test_images": round(distance(test.images()), 3),
    }
    for kind in options.types:
        row = measure(kind, distance, options)
        print(row, flush=True)
        add_row(options.results / "generators.json", row, facts)


if __name__ == "__main__":
    main()

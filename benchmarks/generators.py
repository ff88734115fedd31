"""Claims: each `tiny` generator learns digits in minutes, and trained ones beat the Gaussian.

    snakemake --cores all results/digits_linf.json
    python benchmarks/generators.py --output results/tiny_generators

Takes data set, labeller and features of the training images from the first command, fits a
generator of each type as the workflow does, and measures the Fréchet distance of its samples from
the training images. A killed run goes on. Distances stand on the labeller's features, beside no
published value.

Prints a table and writes `benchmarks/results/generators.json`.
"""

import argparse
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
    fit_generator(
        options.project / "resources/datasets/digits", folder, settings, Runtime(trackers=())
    )
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
        "fit_minutes": round(
            read_json(folder / "cost.json", "pyrobust fit-generator")["seconds"] / 60, 2
        ),
        "fid": round(distance(images[: options.num_samples]), 3),
    }


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
    rows: list[dict[str, Any]] = []
    result = {
        "machine": f"{device_name(str(DEVICE))}, torch {torch.__version__}",
        "extractor": distance.description,
        "num_samples": options.num_samples,
        "num_original": distance.num_original,
        "settings": SETTINGS,
        "rows": rows,
        "fid_of_test_images": round(distance(test.images()), 3),
    }
    for kind in options.types:
        rows.append(measure(kind, distance, options))
        write_json(options.results / "generators.json", result)  # what is measured is kept
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()

"""Does a DDPM get better while it trains? The Fréchet distance of a small one on CIFAR-10.

    snakemake --cores all --config data_root=DIR -- results/cifar10_linf_smoke.json
    python benchmarks/falling_fid.py --output results/falling_fid [--training-steps N]

Takes data set, labeller and features of the training images from the first command, trains the
preset `small` and measures the averaged network on the way. Distances stand on the labeller's
features: they compare the steps of this run, and not published values. A killed run resumes.

Prints a table and writes `benchmarks/results/falling-fid.json`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from labeller_distance import LabellerDistance
from torch import nn

from pyrobust.config import parse_settings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.cost import device_name
from pyrobust.data.dataset import Dataset
from pyrobust.files import write_json
from pyrobust.generators.base import Fit
from pyrobust.generators.diffusion.ddpm import DdpmGenerator
from pyrobust.generators.network_training import AVERAGE, run_training
from pyrobust.training.data_parallel import joined_processes
from pyrobust.training.loop import Metrics
from pyrobust.training.runtime import Runtime

RESULTS = Path(__file__).parent / "results"


class DistanceOfSamples:
    """Draws the first images of a network, the same noise each time, and measures them.

    Args:
        count: images drawn, a multiple of `DdpmGenerator.block_size`.
    """

    def __init__(self, fit: Fit, distance: LabellerDistance, count: int) -> None:
        self._fit, self._distance, self._count = fit, distance, count

    def __call__(self, network: nn.Module, stopping: Callable[[], bool]) -> Metrics | None:
        """Return the distance; None if `stopping` turned true on the way."""
        weights = {f"{AVERAGE}{name}": value for name, value in network.state_dict().items()}
        generator = DdpmGenerator(self._fit.spec, weights).to(str(self._fit.processes.device))
        drawn = []
        for first in range(0, self._count, generator.block_size):
            if stopping():
                return None
            ids = np.arange(first, first + generator.block_size)
            drawn.append(generator.sample(ids, self._fit.settings.seed).images)
        return {"fid": self._distance(np.concatenate(drawn)[: self._count])}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Train, and return the distance at each of the marks and all that it depends on."""
    dataset = Dataset.open(options.project / "resources/datasets/cifar10")
    results = options.project / "results"
    settings = parse_settings(
        GeneratorSettings,
        {
            "type": "ddpm",
            "preset": "small",
            "training_steps": options.training_steps,
            "precision": options.precision,
            "sampling_steps": options.sampling_steps,
        },
    )
    runtime = Runtime(save_seconds=60.0)
    with joined_processes(runtime.device, options.output) as processes:
        distance = LabellerDistance(
            results / "labellers/cifar10/smoke",
            results / "features/cifar10/smoke/smoke/train",
            processes.device,
        )
        fit = Fit(dataset, settings, options.output, runtime, processes)
        training = DdpmGenerator.start_training(fit)
        training.measure = DistanceOfSamples(fit, distance, options.num_samples)
        run = run_training(training, options.marks)
        test_images = dataset.test.gather(np.arange(options.num_samples))
        return {
            "machine": f"{device_name(str(processes.device))}, torch {torch.__version__}",
            "dataset": {
                "name": dataset.name,
                "layout": dataset.settings.layout,
                "sha256": dataset.sha256,
            },
            "generator": settings.model_dump(mode="json"),
            "num_parameters": sum(p.numel() for p in training.average.network.parameters()),
            "extractor": distance.description,
            "num_samples": options.num_samples,
            "num_original": distance.num_original,
            "hours": round(run.seconds / 3600, 2),
            "fid": run.history,
            "fid_of_test_images": distance(test_images),
        }


def main() -> None:
    """Measure, print the table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=Path(), help="where snakemake ran")
    parser.add_argument("--output", type=Path, required=True, help="folder of the training")
    parser.add_argument("--training-steps", type=int, default=2000)
    parser.add_argument("--marks", type=int, default=5, help="times that the network is measured")
    parser.add_argument("--num-samples", type=int, default=1000)
    parser.add_argument("--sampling-steps", type=int, default=10)
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder that the numbers are written to"
    )
    options = parser.parse_args()
    found = measure(options)
    write_json(options.results / "falling-fid.json", found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

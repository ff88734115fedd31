"""Claim: generators spend their time in the network, and 20 steps stand in for 1,000.

    python benchmarks/sampling.py [--preset paper] [--types ddpm edm ...]    # minutes on two cores
    python benchmarks/sampling.py --fitted GENERATOR --dataset DATASET --labeller LABELLER

The first form times the sampling of CIFAR-size images by every type with untrained weights, since
speed does not depend on them: images/s from ids to uint8 images on the host, and the share of it
that the network's passes take. A DDPM draws by DPM-Solver++ with 20 steps here; its ancestral
sampler takes 50 times as many passes. A type gets `--seconds`, and as many images in a batch as
let it end by then. The second form, for a fitted DDPM, puts DPM-Solver++ with 20 steps beside DDIM
and the ancestral sampler with 1,000: the same, and the Fréchet distance of each from the training
images, on the labeller's features.

Prints a table and writes `benchmarks/results/sampling.json` or `sampling-ddpm.json`.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pyrobust.analysis.feature_extractors import make_extractor
from pyrobust.analysis.fid import frechet_distance, moments
from pyrobust.config import parse_settings
from pyrobust.config.analysis import FeatureSettings
from pyrobust.config.generator_types import TYPES
from pyrobust.config.generators import GeneratorSettings
from pyrobust.cost import device_name
from pyrobust.data.dataset import Dataset
from pyrobust.files import write_json
from pyrobust.generators.base import BlockGenerator, GeneratorSpec
from pyrobust.generators.gaussian import GaussianGenerator
from pyrobust.generators.network_training import AVERAGE
from pyrobust.generators.registry import GENERATORS, load_generator
from pyrobust.generators.trained import TrainedGenerator
from pyrobust.ops import choose_device

RESULTS = Path(__file__).parent / "results"
CLASSES = tuple(str(label) for label in range(10))
SAMPLERS = {"dpm_solver": 20, "ddim": 100, "ancestral": 1000}


def untrained(kind: str, preset: str, size: int) -> BlockGenerator:
    """Return a generator of colour images with random weights."""
    values: dict[str, Any] = {"type": kind} | ({} if kind == "gaussian" else {"preset": preset})
    if kind == "ddpm":
        values |= {"sampler": "dpm_solver", "sampling_steps": SAMPLERS["dpm_solver"]}
    settings = parse_settings(GeneratorSettings, values)
    spec = GeneratorSpec(settings, "random", "", CLASSES, (size, size, 3))
    if kind == "gaussian":
        dimension = 3 * size**2
        factor = np.tril(np.full((dimension, dimension), 1e-3, np.float32))
        weights = {f"factor.{label}": factor for label in range(len(CLASSES))}
        return GaussianGenerator(spec, {**weights, "mean": np.full((10, dimension), 0.5)})
    model = GENERATORS[kind]
    assert issubclass(model, TrainedGenerator)
    state = model.build_network(spec).state_dict()
    return model(spec, {f"{AVERAGE}{name}": value for name, value in state.items()})


@contextmanager
def timed_passes(network: nn.Module, device: str) -> Iterator[list[float]]:
    """Yield a list that takes the seconds of each pass of `network`."""
    seconds: list[float] = []
    started = [0.0]

    def wait() -> float:
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    hooks = [
        network.register_forward_pre_hook(lambda *_: started.__setitem__(0, wait())),
        network.register_forward_hook(lambda *_: seconds.append(wait() - started[0])),
    ]
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


def passes_of(generator: TrainedGenerator) -> nn.Module:
    """Return the module whose calls are the passes of sampling: of a VDVAE that is its decoder."""
    decoder = getattr(generator.network, "decoder", generator.network)
    assert isinstance(decoder, nn.Module)
    return decoder


def choose_batch(generator: BlockGenerator, seconds: float, most: int) -> None:
    """Warm up, and set the largest batch, up to `most`, that takes less than `seconds`."""
    generator.block_size = 1
    while True:
        started = time.perf_counter()
        generator.sample_block(0, 0)
        double = min(2 * generator.block_size, most)
        if double == generator.block_size or 2 * (time.perf_counter() - started) > seconds:
            return
        generator.block_size = double


def time_sampling(generator: BlockGenerator, seconds: float, count: int) -> dict[str, Any]:
    """Return images/s over whole batches, some `seconds` of them, and the network's share.

    Args:
        count: images at most.
    """
    if isinstance(generator, TrainedGenerator):
        choose_batch(generator, seconds / 8, min(count, generator.block_size))
    else:
        generator.sample_block(0, 0)
    elapsed, batches = time_batches(generator, seconds, count)
    images = batches * generator.block_size
    found = {"batch": generator.block_size, "images": images, "images_per_second": images / elapsed}
    if not isinstance(generator, TrainedGenerator):
        return found
    with timed_passes(passes_of(generator), generator.device) as passes:
        elapsed, _ = time_batches(generator, seconds / 2, count)
    return {**found, "passes": len(passes), "network_share": sum(passes) / elapsed}


def time_batches(generator: BlockGenerator, seconds: float, count: int) -> tuple[float, int]:
    """Return the seconds of so many batches as `seconds` and `count` allow, one at least."""
    started = time.perf_counter()
    batches = 0
    while not batches or (
        time.perf_counter() - started < seconds and batches * generator.block_size < count
    ):
        generator.sample_block(batches, 0)
        batches += 1
    return time.perf_counter() - started, batches


def features(images: np.ndarray, labeller: Path, device: str) -> np.ndarray:
    """Return the labeller's features, (N, D)."""
    settings = parse_settings(FeatureSettings, {"extractor": "labeller"})
    extractor = make_extractor(settings, labeller, torch.device(device))
    size = extractor.batch_size
    return np.concatenate(
        [extractor(images[first : first + size])[0] for first in range(0, len(images), size)]
    )


def compare_samplers(
    fitted: Path, dataset: Path, labeller: Path, count: int, samplers: list[str], device: str
) -> dict[str, Any]:
    """Return images/s and Fréchet distance of each sampler of a DDPM."""
    original = moments(features(Dataset.open(dataset).train.images(), labeller, device))
    found = {}
    for sampler in samplers:
        steps = SAMPLERS[sampler]
        generator = load_generator(fitted, device)
        changed = {"sampler": sampler, "sampling_steps": steps}
        settings = parse_settings(GeneratorSettings, generator.spec.settings.model_dump() | changed)
        generator.spec = replace(generator.spec, settings=settings)
        assert isinstance(generator, TrainedGenerator)
        with timed_passes(generator.network, device) as passes:
            started = time.perf_counter()
            images = generator.sample(np.arange(count), 0).images
            seconds = time.perf_counter() - started
        fid = frechet_distance(original, moments(features(images, labeller, device)))
        found[f"{sampler} {steps}"] = {
            "images": count,
            "images_per_second": count / seconds,
            "network_share": sum(passes) / seconds,
            "fid": fid,
        }
        print_row(f"{sampler} {steps}", found[f"{sampler} {steps}"])
    return found


def print_row(name: str, row: dict[str, Any]) -> None:
    """Print one line of the table."""
    values = "  ".join(
        f"{key} {value:,.3f}" if isinstance(value, float) else f"{key} {value:,}"
        for key, value in row.items()
    )
    print(f"{name:16} {values}", flush=True)


def main() -> None:
    """Run one of both forms."""
    parser = argparse.ArgumentParser(description=__doc__)
    trained = [kind for kind in TYPES if kind != "imported"]
    parser.add_argument("--types", nargs="+", default=trained, choices=trained)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--count", type=int, default=50_000, help="images of a measurement at most")
    parser.add_argument("--seconds", type=float, default=30, help="of a measurement, about")
    parser.add_argument("--fid-count", type=int, default=1000, help="images of each sampler")
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS), choices=SAMPLERS)
    parser.add_argument("--fitted", type=Path)
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--labeller", type=Path)
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder that the numbers are written to"
    )
    arguments = parser.parse_args()
    device = str(choose_device())
    facts: dict[str, Any] = {"device": device_name(device), "torch": torch.__version__}
    if arguments.fitted:
        samplers = compare_samplers(
            arguments.fitted,
            arguments.dataset,
            arguments.labeller,
            arguments.fid_count,
            arguments.samplers,
            device,
        )
        write_json(arguments.results / "sampling-ddpm.json", {**facts, "samplers": samplers})
        return
    rows: dict[str, Any] = {}
    facts |= {"preset": arguments.preset, "image_size": arguments.image_size}
    for kind in arguments.types:
        generator = untrained(kind, arguments.preset, arguments.image_size).to(device)
        rows[kind] = time_sampling(generator, arguments.seconds, arguments.count)
        print_row(kind, rows[kind])
        write_json(arguments.results / "sampling.json", {**facts, "types": rows})


if __name__ == "__main__":
    main()

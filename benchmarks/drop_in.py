"""Claim: `pyrobust.AutoAttack` leaves the robust accuracy of `pyautoattack`, in less time.

    python benchmarks/drop_in.py     # minutes on two cores; no data needed
    python benchmarks/drop_in.py --model model.safetensors --dataset cifar10 --output cifar10.json

Both run the standard version with the same arguments on the same robustly trained network and
images (without `--model`, digits), in turn within one process, so that other work on the machine
meets both. Times are those of the processor; the fastest of each counts. `over_bare_passes` is the
time of our attacks over that of their network passes alone: as many forward, and forward and back,
with nothing around them.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pyautoattack
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import pyrobust
from pyrobust.attacks import FixedPasses
from pyrobust.config.fields import Norm
from pyrobust.cost import device_name
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.files import write_json
from pyrobust.models import load_model

RESULT = Path(__file__).parent / "results/drop-in.json"
STAGES = ("apgd_ce", "apgd_t", "fab_t", "square")
PASS_SIZE = 128
NORMS: dict[str, Norm] = {"Linf": "linf", "L2": "l2"}
RADII_OF_DIGITS = {"Linf": 32 / 255, "L2": 0.5}
RADII = {"Linf": 8 / 255, "L2": 128 / 255}


class Counted(nn.Module):
    """A network that counts the images that pass it forward only, and forward and back."""

    forward_only: ClassVar[int] = 0
    and_back: ClassVar[int] = 0

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) of x (N, C, H, W)."""
        if x.requires_grad:
            Counted.and_back += len(x)
        else:
            Counted.forward_only += len(x)
        logits: Tensor = self.network(x)
        return logits


class Timed:
    """A function, the processor's seconds that its calls took, and their network passes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.seconds, self.passes = 0.0, [0, 0]

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Return what the function returns."""
        before, started = (Counted.forward_only, Counted.and_back), time.process_time()
        result = self.function(*arguments, **options)
        self.seconds += time.process_time() - started
        self.passes[0] += Counted.forward_only - before[0]
        self.passes[1] += Counted.and_back - before[1]
        return result


def main() -> None:
    """Train a network for each norm, attack it by both, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--num-images", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=float, default=15)
    parser.add_argument("--architecture", default="wrn-10-1")
    parser.add_argument("--model", type=Path, help="attack this network in place of a new one")
    parser.add_argument("--dataset", type=Path, help="with --model: its data set")
    parser.add_argument("--norms", nargs="+", choices=NORMS, default=list(NORMS))
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.model:
        images = LabelledImages.of_dataset(arguments.dataset)
        x, y = images.load(range(arguments.num_images), "cpu")
        loaded, spec = load_model(arguments.model)
        described, radii = f"{spec.architecture} on {images.name}", RADII
    else:
        train_x, x, train_y, y = digits(arguments.num_images)
        described = f"{arguments.architecture}, {arguments.epochs:g} epochs of TRADES on digits"
        radii = RADII_OF_DIGITS
    norms = {}
    for norm in arguments.norms:
        network = loaded if arguments.model else trained(arguments, train_x, train_y, norm)
        norms[norm] = compare(network, x, y, norm, radii[norm], arguments.repeats)
        print(norm, json.dumps(norms[norm]))
    write_json(
        arguments.output,
        {
            "machine": device_name("cpu"),
            "versions": {name: version(name) for name in ("torch", "pyautoattack")},
            "network": described,
            "num_images": arguments.num_images,
            "threads": arguments.threads,
            "repeats": arguments.repeats,
            "norms": norms,
        },
    )


def digits(num_test: int) -> list[Tensor]:
    """Return images and labels of a split of the digits: training and test, training and test."""
    pixels = torch.tensor(load_digits().images / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(load_digits().target)
    split: list[Tensor] = train_test_split(
        pixels, labels, test_size=num_test, stratify=labels, random_state=0
    )
    return split


def trained(arguments: argparse.Namespace, x: Tensor, y: Tensor, norm: str) -> nn.Module:
    """Return a network trained on digits for a norm."""
    return pyrobust.train(
        arguments.architecture,
        x,
        y,
        norm=NORMS[norm],
        epsilon=RADII_OF_DIGITS[norm],
        epochs=arguments.epochs,
        batch_size=128,
        validations=1,
        gap_images=0,
        flip=False,
        crop_padding=1,
        device="cpu",
    ).model


def compare(
    network: nn.Module, x: Tensor, y: Tensor, norm: str, radius: float, repeats: int
) -> dict[str, Any]:
    """Return robust accuracies and seconds of both, and the ratios of the seconds."""
    attacks = {"pyautoattack": pyautoattack.AutoAttack, "pyrobust": pyrobust.AutoAttack}
    seconds: dict[str, list[float]] = {name: [] for name in attacks}
    stages: dict[str, list[dict[str, Timed]]] = {name: [] for name in attacks}
    model, accuracy, bare = Counted(network).eval(), {}, []
    for _ in range(repeats):
        bare.append(_bare_passes(network, x))
        for name, attack in attacks.items():
            adversary = attack(
                model, norm=norm, eps=radius, version="standard", seed=0, device="cpu"
            )
            started = time.process_time()
            found, timed = (_public if name == "pyautoattack" else _ours)(adversary, x, y)
            seconds[name].append(time.process_time() - started)
            stages[name].append(timed)
            x_adv = found[0] if isinstance(found, tuple) else found
            with torch.no_grad():
                accuracy[name] = float((network(x_adv).argmax(1) == y).double().mean())
    with torch.no_grad():
        clean = float((network(x).argmax(1) == y).double().mean())
    fastest = {name: min(values) for name, values in seconds.items()}
    forward, and_back = (min(times) for times in zip(*bare, strict=True))
    rows = {}
    for stage in STAGES:
        public, ours = (
            min((run[stage] for run in stages[name]), key=lambda timed: timed.seconds)
            for name in attacks
        )
        passes = forward * ours.passes[0] + and_back * ours.passes[1]
        rows[stage] = {
            "cpu_seconds": {"pyautoattack": public.seconds, "pyrobust": ours.seconds},
            "images_passed": {"pyautoattack": public.passes, "pyrobust": ours.passes},
            "speed_up": public.seconds / ours.seconds if ours.seconds else None,
            "over_bare_passes": ours.seconds / passes if passes else None,
        }
    return {
        "radius": radius,
        "clean_accuracy": clean,
        "robust_accuracy": accuracy,
        "cpu_seconds": seconds,
        "speed_up": fastest["pyautoattack"] / fastest["pyrobust"],
        "stages": rows,
    }


def _public(adversary: Any, x: Tensor, y: Tensor) -> tuple[Any, dict[str, Timed]]:
    """Return what the public package finds, and its attacks."""
    attacks = (adversary.apgd, adversary.apgd_targeted, adversary.fab, adversary.square)
    timed = {name: Timed(attack.perturb) for name, attack in zip(STAGES, attacks, strict=True)}
    for attack, function in zip(attacks, timed.values(), strict=True):
        attack.perturb = function
    return adversary.run_standard_evaluation(x, y, batch_size=len(x)), timed


def _ours(adversary: Any, x: Tensor, y: Tensor) -> tuple[Any, dict[str, Timed]]:
    """Return what our drop-in finds, and its attacks."""
    timed = {name: Timed(CascadeRun._run) for name in STAGES}

    def run(run: CascadeRun, stage: Any, *images: Tensor) -> Tensor:
        found: Tensor = timed[stage.name](run, stage, *images)
        return found

    with patch.object(CascadeRun, "_run", run):
        return adversary.run_standard_evaluation(x, y, batch_size=len(x)), timed


def _bare_passes(network: nn.Module, x: Tensor) -> tuple[float, float]:
    """Return the processor's seconds for each image: forward, and forward and back."""
    network = copy.deepcopy(network).to(memory_format=torch.channels_last)
    network.requires_grad_(False)
    (images,) = FixedPasses(network, PASS_SIZE).split_images(x[:PASS_SIZE])

    def forward() -> None:
        with torch.no_grad():
            network(images)

    def and_back() -> None:
        points = images.detach().requires_grad_()
        logits = network(points)
        torch.autograd.grad(logits, points, torch.ones_like(logits))

    seconds = []
    for run in (forward, and_back):
        runs = [Timed(run) for _ in range(20)]
        for timed in runs:
            timed()
        seconds.append(min(timed.seconds for timed in runs) / PASS_SIZE)
    return seconds[0], seconds[1]


if __name__ == "__main__":
    main()

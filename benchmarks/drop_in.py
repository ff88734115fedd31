"""Claim: `pyrobust.AutoAttack` leaves the robust accuracy of `pyautoattack`, in less time.

    python benchmarks/drop_in.py     # minutes on two cores; no data needed

Both run the standard version with the same arguments on the same robustly trained network and
digits, in turn within one process, so that other work on the machine meets both. Times are those of
the processor; the fastest of each counts.
"""

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyautoattack
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import pyrobust
from pyrobust.cost import device_name
from pyrobust.files import write_json

RESULT = Path(__file__).parent / "results/drop-in.json"
RADII = {"Linf": (32 / 255, "linf"), "L2": (0.5, "l2")}


def main() -> None:
    """Train a network for each norm, attack it by both, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--num-images", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=float, default=15)
    parser.add_argument("--architecture", default="wrn-10-1")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pixels = torch.tensor(load_digits().images / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(load_digits().target)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, labels, test_size=arguments.num_images, stratify=labels, random_state=0
    )
    norms = {}
    for norm, (radius, name) in RADII.items():
        trained = pyrobust.train(
            arguments.architecture,
            train_x,
            train_y,
            norm=name,
            epsilon=radius,
            epochs=arguments.epochs,
            batch_size=128,
            validations=1,
            gap_images=0,
            flip=False,
            crop_padding=1,
            device="cpu",
        )
        norms[norm] = compare(trained.model, test_x, test_y, norm, radius, arguments.repeats)
        print(norm, json.dumps(norms[norm]))
    write_json(
        arguments.output,
        {
            "machine": device_name("cpu"),
            "versions": {name: version(name) for name in ("torch", "pyautoattack")},
            "network": f"{arguments.architecture}, {arguments.epochs:g} epochs of TRADES on digits",
            "num_images": arguments.num_images,
            "threads": arguments.threads,
            "repeats": arguments.repeats,
            "norms": norms,
        },
    )


def compare(
    model: nn.Module, x: Tensor, y: Tensor, norm: str, radius: float, repeats: int
) -> dict[str, Any]:
    """Return robust accuracies and seconds of both, and the ratio of the seconds."""
    attacks = {"pyautoattack": pyautoattack.AutoAttack, "pyrobust": pyrobust.AutoAttack}
    seconds: dict[str, list[float]] = {name: [] for name in attacks}
    accuracy = {}
    for _ in range(repeats):
        for name, attack in attacks.items():
            adversary = attack(
                model, norm=norm, eps=radius, version="standard", seed=0, device="cpu"
            )
            started = time.process_time()
            found = adversary.run_standard_evaluation(x, y, batch_size=len(x))
            seconds[name].append(time.process_time() - started)
            x_adv = found[0] if isinstance(found, tuple) else found
            with torch.no_grad():
                accuracy[name] = float((model(x_adv).argmax(1) == y).double().mean())
    with torch.no_grad():
        clean = float((model(x).argmax(1) == y).double().mean())
    fastest = {name: min(values) for name, values in seconds.items()}
    return {
        "radius": radius,
        "clean_accuracy": clean,
        "robust_accuracy": accuracy,
        "cpu_seconds": seconds,
        "speed_up": fastest["pyautoattack"] / fastest["pyrobust"],
    }


if __name__ == "__main__":
    main()

"""Claim: the APGD stages of AA+MT leave no more images standing than the public AutoAttack's, in
less time, and cost little more than their network passes; bfloat16 search quickens them further.

    make demo                          # trains the network that is attacked by default
    python benchmarks/evaluation.py    # minutes on two cores

All attack the same network and images in one process: APGD on cross-entropy, then APGD on DLR, on
the images still standing; `public` and `ours` in float32, `bfloat16` with products of that type in
the search and float32 for the judgement. `over_bare_passes` is the time of ours over that of its
network passes alone: as many forward and back, with nothing around them. Times compared on a CPU
are those of the processor, which other work on the machine disturbs less.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pyautoattack import AutoAttack
from torch import Tensor

from pyrobust.attacks import FixedPasses
from pyrobust.config.evaluation import EvaluationSettings, Search, ThreatSettings
from pyrobust.cost import device_name
from pyrobust.evaluation.aa_mt import aa_mt
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.kernels import exact_kernels
from pyrobust.evaluation.networks import NetworkSource
from pyrobust.evaluation.outcome import Outcome
from pyrobust.evaluation.search import search_passes
from pyrobust.evaluation.stages import Cascade
from pyrobust.evaluation.subject import Subject
from pyrobust.models import load_model

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/evaluation.json"
NORMS = {"linf": "Linf", "l2": "L2"}
BARE_PASSES = 20


class Counted:
    """A logits function that counts its passes and their images."""

    def __init__(self, logits_fn: Callable[[Tensor], Tensor]) -> None:
        self.logits_fn = logits_fn
        self.passes = self.images = 0

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits (N, K) of x (N, C, H, W)."""
        self.passes += 1
        self.images += len(x)
        return self.logits_fn(x)


def main() -> None:
    """Attack by both and write the table."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    threat = ThreatSettings(norm=arguments.norm, epsilon=arguments.epsilon)
    subject = Subject.open(
        NetworkSource(str(arguments.model)), arguments.dataset, "test", threat, device
    )
    count = min(arguments.num_images, subject.store.count)
    # What the processor does for a GPU is no measure of the GPU's work.
    clock = "cpu_seconds" if device == "cpu" else "seconds"
    with exact_kernels():
        # In turn, so that other work on the machine meets all; the fastest of each counts.
        runs = [
            {
                "public": _public(arguments, subject, count),
                "ours": _ours(arguments, subject, count, "float32"),
                "bfloat16": _ours(arguments, subject, count, "bfloat16"),
            }
            for _ in range(arguments.repeats)
        ]
        bare_pass = _bare_pass(subject, arguments.pass_size, clock)
    rows = {name: min((run[name] for run in runs), key=lambda row: row[clock]) for name in runs[0]}
    public, ours, bfloat16 = rows.values()
    result = {
        "machine": {"device": device_name(device), "platform": platform.machine()},
        "versions": {name: version(name) for name in ("torch", "pyautoattack")},
        "attack": f"APGD-CE and APGD-DLR, {arguments.restarts} × {arguments.steps}",
        "norm": arguments.norm,
        "epsilon": arguments.epsilon,
        "num_images": count,
        "rows": rows,
        "repeats": arguments.repeats,
        "clock": clock,
        "speed_up": public[clock] / ours[clock],
        "over_bare_passes": ours[clock] / (bare_pass * ours["images_passed"]),
        "speed_up_of_bfloat16": ours[clock] / bfloat16[clock],
        "robust_accuracy_gained_by_bfloat16": bfloat16["robust_accuracies"][-1]
        - ours["robust_accuracies"][-1],
    }
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    demo = ROOT / "results/train/digits_linf/model.safetensors"
    parser.add_argument("--model", type=Path, default=demo)
    parser.add_argument("--dataset", type=Path, default=ROOT / "resources/datasets/digits")
    parser.add_argument("--norm", choices=NORMS, default="linf")
    parser.add_argument("--epsilon", default="32/255")
    parser.add_argument("--num-images", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--public-batch-size", type=int, default=250, help="its default")
    parser.add_argument("--pass-size", type=int, default=128)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def _public(arguments: argparse.Namespace, subject: Subject, count: int) -> dict[str, Any]:
    """Run the public implementation on the network as it is loaded."""
    network, _ = load_model(arguments.model, subject.device)
    network.requires_grad_(False)
    counted = Counted(network)
    x, labels = subject.load(range(count))
    accuracies = []

    def attack() -> None:
        x_adv = x
        standing = torch.ones_like(labels, dtype=torch.bool)
        for name in ("apgd-ce", "apgd-dlr"):
            attacker = AutoAttack(
                counted,
                norm=NORMS[arguments.norm],
                eps=subject.threat.epsilon,
                version="custom",
                attacks=[name],
                seed=0,
                device=subject.device,
            )
            attacker.apgd.n_restarts, attacker.apgd.n_iter = arguments.restarts, arguments.steps
            rows = torch.nonzero(standing).flatten()
            x_adv, _ = attacker.run_standard_evaluation(
                x[rows], labels[rows], batch_size=arguments.public_batch_size
            )
            with torch.no_grad():
                standing[rows] = network(x_adv).argmax(1) == labels[rows]
            accuracies.append(float(standing.float().mean()))

    return {**_timed(attack), **_counts(counted), "robust_accuracies": accuracies}


def _ours(
    arguments: argparse.Namespace, subject: Subject, count: int, search: Search
) -> dict[str, Any]:
    x, _ = subject.load(range(count))
    counted = Counted(subject.logits_fn)
    settings = EvaluationSettings(
        apgd_ce_steps=arguments.steps,
        apgd_ce_restarts=arguments.restarts,
        apgd_dlr_steps=arguments.steps,
        apgd_dlr_restarts=arguments.restarts,
    )
    stages = aa_mt(settings, subject.threat, subject.num_classes).stages[:2]
    outcomes: list[Outcome] = []

    def attack() -> None:
        with tempfile.TemporaryDirectory() as folder:
            plain, passes = (
                search_passes(counted, precision, arguments.pass_size, x)
                for precision in ("float32", search)
            )
            run = CascadeRun(plain, passes, subject.threat, subject.load, Path(folder), False)
            for start in range(0, count, arguments.batch_size):
                batch = range(start, min(start + arguments.batch_size, count))
                outcomes.append(run.attack(Cascade("apgd", stages), batch, lambda _: None))

    cost = _timed(attack)
    outcome = Outcome.joined(outcomes)
    standing = int(outcome.clean_correct.sum())
    accuracies = []
    for number in range(len(stages)):
        standing -= int((outcome.broken_by == number).sum())
        accuracies.append(standing / count)
    return {**cost, **_counts(counted), "robust_accuracies": accuracies}


def _counts(counted: Counted) -> dict[str, int]:
    return {"passes": counted.passes, "images_passed": counted.images}


def _timed(run: Callable[[], object]) -> dict[str, float]:
    """Return seconds on the wall and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - processor,
    }


def _bare_pass(subject: Subject, pass_size: int, clock: str) -> float:
    """Return the seconds of an image's share in a pass forward and back, and nothing around."""
    x, _ = subject.load(range(subject.store.count))
    x = x[torch.arange(pass_size, device=x.device) % len(x)]
    (images,) = FixedPasses(subject.logits_fn, pass_size).split_images(x)

    def run() -> None:
        for _ in range(BARE_PASSES):
            points = images.detach().requires_grad_()
            logits = subject.logits_fn(points)
            torch.autograd.grad(logits, points, torch.ones_like(logits))

    return min(_timed(run)[clock] for _ in range(5)) / BARE_PASSES / pass_size


if __name__ == "__main__":
    main()

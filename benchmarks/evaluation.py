"""Claim: our APGD stages leave no more images standing than the public AutoAttack's, in less time,
and cost little more than their network passes; bfloat16 search quickens them further.

    snakemake --cores all results/cifar10_linf_smoke.json   # trains the network of the default
    python benchmarks/evaluation.py                         # minutes on two cores
    python benchmarks/evaluation.py --random resnet-18 wrn-28-10   # no data needed; for a GPU

All attack the same network and images in one process: APGD on cross-entropy, then APGD on DLR, on
the images still standing; `public` and `ours` in float32, `bfloat16` with products of that type in
the search and float32 for the judgement. `over_bare_passes` is the time of ours over that of its
network passes alone: as many forward and back, with nothing around them. Times compared on a CPU
are those of the processor, which other work on the machine disturbs less.

`additions` are the costs of what docs/trust.md describes (`evaluation_additions.py`).
"""

import argparse
import copy
import json
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evaluation_additions import Additions, timed
from pyautoattack import AutoAttack
from torch import Tensor, nn

from pyrobust.attacks import FixedPasses, ThreatModel
from pyrobust.config import parse_epsilon
from pyrobust.config.evaluation import EvaluationSettings, ThreatSettings
from pyrobust.config.fields import Precision
from pyrobust.cost import device_name
from pyrobust.data import Dataset
from pyrobust.evaluation.aa_mt import aa_mt
from pyrobust.evaluation.attack_stages import Cascade, judge_and_search_passes
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.outcomes import Outcome
from pyrobust.files import write_json
from pyrobust.memory import keep_freed_memory
from pyrobust.models import ModelSpec, build_model, initialize, load_model
from pyrobust.ops import choose_device
from pyrobust.ops.precision import exact_kernels

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/evaluation.json"
NORMS = {"linf": "Linf", "l2": "L2"}
PUBLIC_STAGES = ("apgd-ce", "apgd-dlr")
BARE_PASSES = 4


@dataclass(frozen=True)
class Task:
    """A network as it is loaded, and the images that it is attacked on."""

    name: str
    network: nn.Module
    x: Tensor
    labels: Tensor
    num_classes: int


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
    """Attack by all and write the table."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    # As `pyrobust evaluate` does; the public attack gains as much by it.
    keep_freed_memory()
    device = arguments.device or str(choose_device())
    networks: list[dict[str, Any]] = []
    result = {
        "machine": {"device": device_name(device), "platform": platform.machine()},
        "versions": {name: version(name) for name in ("torch", "pyautoattack")},
        "attack": f"APGD-CE and APGD-DLR, {arguments.restarts} × {arguments.steps}",
        "norm": arguments.norm,
        "epsilon": arguments.epsilon,
        "repeats": arguments.repeats,
        "threads": arguments.threads,
        "pass_size": arguments.pass_size,
        "networks": networks,
    }
    with exact_kernels():
        for task in _tasks(arguments, device):
            networks.append(_compare(arguments, task))
            write_json(arguments.output, result)  # what is measured is kept
    print(json.dumps(result, indent=2))
    print(_table(networks))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    smoke = ROOT / "results/train/cifar10_linf_smoke/model.safetensors"
    parser.add_argument("--model", type=Path, default=smoke)
    parser.add_argument("--dataset", type=Path, default=ROOT / "resources/datasets/cifar10")
    parser.add_argument(
        "--random",
        nargs="+",
        metavar="ARCHITECTURE",
        help="in place of a model: random weights and images, and its own predictions as labels",
    )
    parser.add_argument("--norm", choices=NORMS, default="linf")
    parser.add_argument("--epsilon", default="8/255")
    parser.add_argument("--num-images", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--public-batch-size", type=int, default=250, help="its default")
    parser.add_argument("--pass-size", type=int, default=128)
    parser.add_argument("--attack", default="fast", help="whose additions are timed")
    parser.add_argument("--threat-images", type=int, default=16, help="0 times no other threats")
    parser.add_argument("--certified-images", type=int, default=2, help="0 times no certificates")
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def _tasks(arguments: argparse.Namespace, device: str) -> list[Task]:
    if arguments.random:
        return [_random(name, arguments.num_images, device) for name in arguments.random]
    network, spec = load_model(arguments.model, torch.device(device))
    images = Dataset.open(arguments.dataset).test
    rows = range(min(arguments.num_images, images.count))
    pixels = torch.from_numpy(images.gather(np.array(rows))).to(device)
    x = pixels.permute(0, 3, 1, 2).contiguous().float() / 255
    labels = torch.from_numpy(images.labels()[: len(rows)]).to(device)
    return [Task(spec.architecture, network.requires_grad_(False), x, labels, spec.num_classes)]


def _random(architecture: str, count: int, device: str) -> Task:
    spec = ModelSpec(architecture, "silu", 10, (32, 32, 3), (0.5,) * 3, (0.25,) * 3)
    random = torch.Generator().manual_seed(0)
    network = build_model(spec)
    initialize(network, random, zero_logits=False)
    network = network.requires_grad_(False).to(device)
    x = torch.rand((count, 3, 32, 32), generator=random).to(device)
    with torch.no_grad():
        labels = torch.cat([network(images).argmax(1) for images in x.split(128)])
    return Task(f"{architecture}, random", network, x, labels, spec.num_classes)


def _compare(arguments: argparse.Namespace, task: Task) -> dict[str, Any]:
    threat = ThreatModel(arguments.norm, parse_epsilon(arguments.epsilon))
    # The time of the processor does not measure the work of the GPU.
    clock = "cpu_seconds" if task.x.device.type == "cpu" else "seconds"
    # A third faster on the CPU; as `pyrobust evaluate` has it.
    ours = copy.deepcopy(task.network).to(memory_format=torch.channels_last)
    # In turn, so that other work on the machine meets all; the fastest of each counts.
    runs, bare = [], []
    for _ in range(arguments.repeats):
        bare.append(_bare_pass(ours, task.x, arguments.pass_size)[clock])
        runs.append(
            {
                "public": _public(arguments, task, threat),
                "ours": _ours(arguments, task, threat, ours, "float32"),
                "bfloat16": _ours(arguments, task, threat, ours, "bfloat16"),
            }
        )
    rows = {name: min((run[name] for run in runs), key=lambda row: row[clock]) for name in runs[0]}
    public, plain, bfloat16 = rows.values()
    return {
        "network": task.name,
        "num_images": len(task.x),
        "clock": clock,
        "rows": rows,
        "speed_up": public[clock] / plain[clock],
        **_additions(arguments, task, ours, clock),
        "over_bare_passes": plain[clock] / (min(bare) * plain["images_passed"]),
        "speed_up_of_bfloat16": plain[clock] / bfloat16[clock],
        "robust_accuracy_gained_by_bfloat16": bfloat16["robust_accuracies"][-1]
        - plain["robust_accuracies"][-1],
    }


def _public(arguments: argparse.Namespace, task: Task, threat: ThreatModel) -> dict[str, Any]:
    """Run the public implementation on the network as it is loaded."""
    counted = Counted(task.network)
    standing = torch.ones_like(task.labels, dtype=torch.bool)
    accuracies = []

    def attack() -> None:
        for name in PUBLIC_STAGES:
            attacker = AutoAttack(
                counted,
                norm=NORMS[threat.norm],
                eps=threat.epsilon,
                version="custom",
                attacks=[name],
                seed=0,
                device=task.x.device,
            )
            attacker.apgd.n_restarts, attacker.apgd.n_iter = arguments.restarts, arguments.steps
            rows = torch.nonzero(standing).flatten()
            if not len(rows):  # the public attack takes no empty batch
                accuracies.append(0.0)
                continue
            x_adv, _ = attacker.run_standard_evaluation(
                task.x[rows], task.labels[rows], batch_size=arguments.public_batch_size
            )
            with torch.no_grad():
                standing[rows] = counted(x_adv).argmax(1) == task.labels[rows]
            accuracies.append(float(standing.float().mean()))

    return {**timed(attack), **_counts(counted), "robust_accuracies": accuracies}


def _ours(
    arguments: argparse.Namespace,
    task: Task,
    threat: ThreatModel,
    network: nn.Module,
    search: Precision,
) -> dict[str, Any]:
    counted, count = Counted(network), len(task.x)
    settings = EvaluationSettings(
        apgd_ce_steps=arguments.steps,
        apgd_ce_restarts=arguments.restarts,
        apgd_dlr_steps=arguments.steps,
        apgd_dlr_restarts=arguments.restarts,
    )
    stages = aa_mt(settings, threat, task.num_classes).stages[: len(PUBLIC_STAGES)]
    outcomes: list[Outcome] = []

    def load(rows: range) -> tuple[Tensor, Tensor]:
        return task.x[rows.start : rows.stop], task.labels[rows.start : rows.stop]

    def attack() -> None:
        with tempfile.TemporaryDirectory() as folder:
            passes = judge_and_search_passes(counted, search, arguments.pass_size, task.x)
            run = CascadeRun(*passes, threat, load, Path(folder), keep_adversarial=False)
            for start in range(0, count, arguments.batch_size):
                batch = range(start, min(start + arguments.batch_size, count))
                outcomes.append(run.attack(Cascade("apgd", stages), batch, lambda _: None))

    cost = timed(attack)
    outcome = Outcome.joined(outcomes)
    standing = int(outcome.clean_correct.sum())
    accuracies = []
    for number in range(len(stages)):
        standing -= int((outcome.broken_by == number).sum())
        accuracies.append(standing / count)
    return {**cost, **_counts(counted), "robust_accuracies": accuracies}


def _additions(
    arguments: argparse.Namespace, task: Task, network: nn.Module, clock: str
) -> dict[str, dict[str, float]]:
    threat = ThreatSettings(norm=arguments.norm, epsilon=arguments.epsilon)
    found = Additions(
        network, task.x, task.labels, task.num_classes, threat, arguments.attack, clock
    )
    result = {"additions": found.of_evaluation()}
    if arguments.threat_images:
        result["threats_per_image"] = found.of_threats(arguments.threat_images)
    if arguments.certified_images:
        result["certificates_per_image"] = found.of_certificates(arguments.certified_images)
    return result


def _counts(counted: Counted) -> dict[str, int]:
    return {"passes": counted.passes, "images_passed": counted.images}


def _bare_pass(network: nn.Module, x: Tensor, pass_size: int) -> dict[str, float]:
    """Return the seconds of an image's share in a pass forward and back, and nothing around."""
    x = x[torch.arange(pass_size, device=x.device) % len(x)]
    (images,) = FixedPasses(network, pass_size).split_images(x)

    def run() -> None:
        for _ in range(BARE_PASSES):
            points = images.detach().requires_grad_()
            logits = network(points)
            torch.autograd.grad(logits, points, torch.ones_like(logits))

    times = [timed(run) for _ in range(5)]
    return {clock: min(t[clock] for t in times) / BARE_PASSES / pass_size for clock in times[0]}


def _table(networks: list[dict[str, Any]]) -> str:
    lines = [
        "| network | attack | seconds | images passed | robust accuracy | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for found in networks:
        notes = {
            "public": "",
            "ours": f"{found['speed_up']:.2f} × public, "
            f"{found['over_bare_passes']:.2f} × its bare passes",
            "bfloat16": f"{found['speed_up_of_bfloat16']:.2f} × ours, "
            f"robust accuracy {found['robust_accuracy_gained_by_bfloat16']:+.4f}",
        }
        for part in ("additions", "threats_per_image", "certificates_per_image"):
            costs = ", ".join(f"{name} {cost:.3g}" for name, cost in found.get(part, {}).items())
            lines.append(f"| {found['network']} | {part.replace('_', ' ')} | | | | {costs} |")
        for name, row in found["rows"].items():
            accuracy = row["robust_accuracies"][-1]
            cells = [found["network"], name, f"{row[found['clock']]:.1f}"]
            cells += [f"{row['images_passed']:,}", f"{accuracy:.4f}", notes[name]]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Shares of a network pass: convolutions and what lies between them.

    python benchmarks/pass_profile.py          # a minute on one core

Profiles forward and backward passes as the inner attack makes them (gradients of the images) and as
the update does (gradients of the weights), in float32 and bfloat16. Each operator counts with its
shortest time over the rounds. Writes `benchmarks/results/pass-profile.json`.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from pyrobust.cost import device_name
from pyrobust.files import write_json
from pyrobust.models import ImageClassifier, ModelSpec, build_model
from pyrobust.models.batch_norm import batch_statistics
from pyrobust.models.build import logits_in

ROOT = Path(__file__).parents[1]
# Part of the name of a PyTorch operator → group.
GROUPS = {
    "convolution": "convolutions",
    "conv2d": "convolutions",
    "batch_norm": "batch norm",
    "silu": "activations",
    "add": "additions",
}


def main() -> None:
    """Profile all kinds of passes and write their shares."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--network", default="wrn-10-2")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    grey = (0.5,) * 3
    model = build_model(ModelSpec(arguments.network, "silu", 10, (32, 32, 3), grey, grey))
    model.to(memory_format=torch.channels_last)
    x = torch.rand(arguments.batch_size, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    rows = [
        {"precision": precision, "gradient_of": wanted, **measure(model, x, precision, wanted, n)}
        for n in [arguments.rounds]
        for precision in ("float32", "bfloat16")
        for wanted in ("images", "weights")
    ]
    facts = {key: getattr(arguments, key) for key in ("network", "batch_size", "rounds", "threads")}
    machine = {"device": device_name("cpu"), "torch": torch.__version__}
    write_json(arguments.results / "pass-profile.json", {**facts, **machine, "rows": rows})
    for row in rows:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in row["shares"].items())
        print(f"{row['precision']}, gradient of {row['gradient_of']}: {row['ms']:.0f} ms; {shares}")


def measure(
    model: ImageClassifier, x: Tensor, precision: Any, wanted: str, rounds: int
) -> dict[str, Any]:
    """Return the milliseconds of a forward and a backward pass, and the share of each group."""
    model.requires_grad_(wanted == "weights")
    points = x.clone().requires_grad_(wanted == "images")
    inputs = [points] if wanted == "images" else list(model.parameters())
    logits_fn = logits_in(precision, model)

    def run() -> None:
        torch.autograd.grad(logits_fn(points).logsumexp(1).sum(), inputs)

    shortest: dict[str, float] = {}
    with batch_statistics(model):
        run()
        for _ in range(rounds):
            with profile(activities=[ProfilerActivity.CPU]) as profiled:
                run()
            for event in profiled.key_averages():
                known = shortest.get(event.key, float("inf"))
                shortest[event.key] = min(known, event.self_cpu_time_total)
    groups: dict[str, float] = defaultdict(float)
    for name, microseconds in shortest.items():
        group = next((group for part, group in GROUPS.items() if part in name), "others")
        groups[group] += microseconds
    total = sum(groups.values())
    ordered = sorted(groups.items(), key=lambda item: -item[1])
    return {"ms": total / 1e3, "shares": {name: value / total for name, value in ordered}}


if __name__ == "__main__":
    main()

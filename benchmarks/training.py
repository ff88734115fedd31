"""How fast is one TRADES-10 step? Ours against plain PyTorch, side by side.

python benchmarks/training.py [--networks wrn-10-2 resnet-18] [--batch-size 64] [--rounds 5]

Prints a table and writes `benchmarks/results/training-<processor>.json`. For each network, norm
and precision it measures in turns, in one process: a forward pass without graph, the plain step,
and our step with its data loading: the inner attack as it is, compiled, and on a GPU as one CUDA
graph. A step's cost in forward passes is its time over the forward pass of the same precision; 26
is our arithmetic floor (1 clean, 10 × 2 in the attack, 1 adversarial, 2 × 2 backward), 27 that of
code that repeats the clean pass. `matrix_share` is that arithmetic over what large matrix products
of the same precision reach here in the same time.

The plain step is written as public code writes it: eager float32, contiguous tensors, sign-PGD for
linf; for l2 SGD on a perturbation whose `loss.backward()` also builds parameter gradients; weights
averaged by a loop over the parameters. It gets a ready batch, where ours loads and augments one.
"""

import argparse
import copy
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pyrobust.attacks.inner_attack import InnerAttack
from pyrobust.config import parse_epsilon
from pyrobust.config.training import TrainSettings
from pyrobust.cost import device_name
from pyrobust.files import write_json
from pyrobust.models import ImageClassifier, ModelSpec, batch_statistics, logits_in
from pyrobust.ops import choose_device
from pyrobust.training.batches import BatchPlan
from pyrobust.training.classifier import new_model
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loader import Augmentation, Loader
from pyrobust.training.objectives import Passes, make_objective
from pyrobust.training.schedules import Schedule
from pyrobust.training.step import TrainingStep
from pyrobust.training.weight_averaging import AveragedSgd

# A forward pass is short: so many in a row make one measurement.
FORWARDS = 8

# Forward passes' worth of arithmetic in our step.
PASSES = 26

EPSILON = {"linf": "8/255", "l2": "128/255"}
STEPS = 10

# Forms of our step: its inner attack compiled, and as one CUDA graph, which needs a GPU.
KINDS = ("compiled", "cuda_graph")


def make_spec(architecture: str) -> ModelSpec:
    """Return a CIFAR-10 network."""
    mean, std = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
    return ModelSpec(architecture, "silu", 10, (32, 32, 3), mean, std)


class PlainStep:
    """TRADES as public code writes it."""

    def __init__(self, model: nn.Module, norm: str) -> None:
        self.model, self.norm = model.train(), norm
        self.averaged = copy.deepcopy(model)
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
        )

    def __call__(self, x: Tensor, labels: Tensor) -> None:
        """Make one update."""
        for layer in self.model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.tracking = False
        x_adv = self.linf(x) if self.norm == "linf" else self.l2(x)
        for layer in self.model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.tracking = True
        self.optimizer.zero_grad()
        clean, adversarial = self.model(x), self.model(x_adv)
        kl = F.kl_div(F.log_softmax(adversarial, 1), F.softmax(clean, 1), reduction="batchmean")
        loss = F.cross_entropy(clean, labels, label_smoothing=0.1) + 6 * kl
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            pairs = zip(self.averaged.parameters(), self.model.parameters(), strict=True)
            for average, parameter in pairs:
                average.mul_(0.995).add_(parameter, alpha=0.005)
        loss.item()

    def linf(self, x: Tensor) -> Tensor:
        """Return x_adv by sign-PGD."""
        epsilon = parse_epsilon(EPSILON["linf"])
        target = F.softmax(self.model(x), 1).detach()
        x_adv = torch.clamp(x + torch.empty_like(x).uniform_(-epsilon, epsilon), 0, 1)
        for _ in range(STEPS):
            x_adv.requires_grad_()
            loss = F.kl_div(F.log_softmax(self.model(x_adv), 1), target, reduction="sum")
            (grad,) = torch.autograd.grad(loss, [x_adv])
            x_adv = x_adv.detach() + 2 / 255 * torch.sign(grad.detach())
            x_adv = torch.min(torch.max(x_adv, x - epsilon), x + epsilon)
            x_adv = torch.clamp(x_adv, 0, 1)
        return x_adv.detach()

    def l2(self, x: Tensor) -> Tensor:
        """Return x_adv by SGD on a perturbation."""
        epsilon = parse_epsilon(EPSILON["l2"])
        target = F.softmax(self.model(x), 1).detach()
        delta = (0.001 * torch.randn_like(x)).requires_grad_()
        optimizer = torch.optim.SGD([delta], lr=epsilon / STEPS * 2)
        for _ in range(STEPS):
            optimizer.zero_grad()
            logits = self.model(x + delta)
            loss = -F.kl_div(F.log_softmax(logits, 1), target, reduction="sum")
            loss.backward()
            assert delta.grad is not None
            norms = delta.grad.view(len(x), -1).norm(dim=1).view(-1, 1, 1, 1)
            delta.grad.div_(norms + 1e-12)
            optimizer.step()
            delta.data.add_(x).clamp_(0, 1).sub_(x)
            delta.data.renorm_(p=2, dim=0, maxnorm=epsilon)
        return (x + delta).detach()


def make_store(count: int, seed: int) -> Any:
    """Return random images with the interface of a sample store."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = random.integers(0, 10, count)
    return SimpleNamespace(
        count=count,
        image_shape=(32, 32, 3),
        class_names=tuple("0123456789"),
        blocks=lambda size: [(0, images)],
        labels=lambda kind=np.int64: labels.astype(kind),
    )


def make_our_step(
    architecture: str,
    norm: str,
    precision: str,
    batch_size: int,
    device: torch.device,
    *,
    compiled: bool = False,
    cuda_graph: bool = False,
) -> tuple[TrainingStep, ImageClassifier]:
    """Return our step on random images, and its network."""
    processes = Processes(device)
    model = new_model(make_spec(architecture), 0, False, channels_last=True, device=device)
    optimizer = AveragedSgd(model, 5e-4)
    loader = Loader(
        BatchPlan(batch_size, 0.3, 5000, 5000, seed=0),
        make_store(5000, 0),
        make_store(5000, 1),
        Augmentation(4, True),
        smoothing=(0.0, 0.1),
        processes=processes,
        resident_bytes=1 << 30,
        channels_last=True,
    )
    settings = TrainSettings(
        norm=norm, epsilon=EPSILON[norm], precision=precision, compiled_attack=compiled
    )
    objective, logits_fn = make_objective(settings), logits_in(precision, model)
    attack = InnerAttack(model, logits_fn, settings, cuda_graph)
    passes = Passes(model, logits_fn, attack, objective.tracked_passes, processes)
    schedule = Schedule("cosine", 0.1, 0.9, 0.0, 1000, 100.0)
    return TrainingStep(model, objective, passes, loader, optimizer, schedule, processes), model


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds that `work` takes on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def start_peak(device: torch.device) -> None:
    """Let the highest memory in use count from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:  # 5: the high-water mark of resident memory, see proc_pid_clear_refs(5)
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(device: torch.device) -> int:
    """Return the highest memory since `start_peak`: of the GPU, or of this whole process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**20)
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024


def flops_of(model: nn.Module, x: Tensor) -> int:
    """Return the floating-point operations of one forward pass on x."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    return counter.get_total_flops()


def matrix_speed(precision: str, device: torch.device) -> float:
    """Return the operations per second of large matrix products in this precision."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.rand(size, size, device=device).to(getattr(torch, precision)) for _ in range(2))
    work = lambda: a @ b  # noqa: E731
    times = [seconds_of(work, device) for _ in range(10)]
    return 2 * size**3 / statistics.median(times[2:])


def measure(
    architecture: str,
    norm: str,
    precision: str,
    batch_size: int,
    rounds: int,
    device: torch.device,
    kinds: Sequence[str],
) -> dict[str, Any]:
    """Time the forward passes and both steps in turns; medians over the rounds.

    Args:
        kinds: forms of our step beside the usual one, of `KINDS`.
    """
    variants: dict[str, dict[str, bool]] = {"ours": {}, **{kind: {kind: True} for kind in kinds}}
    asked = (architecture, norm, precision, batch_size, device)
    steps = {name: make_our_step(*asked, **how) for name, how in variants.items()}
    model = steps["ours"][1]
    plain_model = new_model(make_spec(architecture), 0, False, False, device)
    plain = PlainStep(plain_model, norm)
    x = torch.rand(batch_size, 3, 32, 32, device=device)
    labels = torch.randint(0, 10, (batch_size,), device=device)
    x_last = x.to(memory_format=torch.channels_last)
    logits = logits_in(precision, model)
    count = 0

    def forward() -> None:
        with torch.no_grad(), batch_statistics(model):
            for _ in range(FORWARDS):
                logits(x_last)

    def plain_forward() -> None:
        with torch.no_grad():
            for _ in range(FORWARDS):
                plain_model(x)

    work = {
        "forward": forward,
        "plain_forward": plain_forward,
        **{name: lambda s=step: s(count)[0].item() for name, (step, _) in steps.items()},
        "plain": lambda: plain(x, labels),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    peaks = {}
    for count in range(rounds + 1):
        for name, function in work.items():
            start_peak(device)
            seconds = seconds_of(function, device)
            peaks[name] = peak_mb(device)
            if count:  # the first round warms up
                times[name].append(seconds)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    seconds["forward"] /= FORWARDS
    seconds["plain_forward"] /= FORWARDS
    return {
        "network": architecture,
        "norm": norm,
        "precision": precision,
        "batch_size": batch_size,
        "images_per_second": round(batch_size / seconds["ours"], 1),
        "plain_images_per_second": round(batch_size / seconds["plain"], 1),
        "speedup": {name: round(seconds["plain"] / seconds[name], 2) for name in variants},
        "forward_passes": round(seconds["ours"] / seconds["forward"], 1),
        "plain_forward_passes": round(seconds["plain"] / seconds["plain_forward"], 1),
        "matrix_share": round(
            PASSES * flops_of(plain_model, x) / seconds["ours"] / matrix_speed(precision, device), 3
        ),
        "peak_memory_mb": peaks,
        "seconds": {name: [round(v, 5) for v in values] for name, values in times.items()},
    }


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["wrn-10-2", "resnet-18"])
    parser.add_argument("--norms", nargs="+", default=["linf", "l2"])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default=choose_device().type)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, help="all that the device has")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    device = torch.device(options.device)
    kinds = KINDS[: 1 + (device.type == "cuda")] if options.kinds is None else options.kinds
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    machine = {"device": device_name(options.device), "torch": torch.__version__}
    name = re.sub(r"[^a-z0-9]+", "-", machine["device"].lower()).strip("-")
    path = options.results / f"training-{name}.json"
    result: dict[str, Any] = {"machine": {**machine, "system": platform.platform()}, "rows": []}
    print(f"{'network':12}{'norm':6}{'precision':10}{'img/s':>9}{'plain':>9}", end="")
    print(f"{'forwards':>10}{'plain':>8}{'matrix':>8}  over plain")
    for network in options.networks:
        for norm in options.norms:
            for precision in options.precisions:
                row = measure(
                    network, norm, precision, options.batch_size, options.rounds, device, kinds
                )
                result["rows"].append(row)
                write_json(path, result)  # what is measured is kept, whatever happens next
                print(
                    f"{network:12}{norm:6}{precision:10}{row['images_per_second']:9.1f}"
                    f"{row['plain_images_per_second']:9.1f}"
                    f"{row['forward_passes']:10.1f}{row['plain_forward_passes']:8.1f}"
                    f"{row['matrix_share']:8.0%}  "
                    + ", ".join(f"{name} {ratio}" for name, ratio in row["speedup"].items()),
                    flush=True,
                )
    print(f"written to {path}")


if __name__ == "__main__":
    main()

"""Claim: each operator of the core runs at the speed of memory, and faster than plain PyTorch,
eager or compiled.

    python benchmarks/operators.py [--device cuda] [--rounds 30] [--no-compile]

One process times the core, the same lines in eager PyTorch and under `torch.compile`, and a plain
copy, in turns; the table has medians with their quartiles. `of copy` is the time that the
operator's bytes would take at the bandwidth of `Tensor.copy_`, over the operator's own: what each
operand needs once, read or written. Writes `benchmarks/results/operators-<device>.{json,md}`.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plain_operators as plain
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pyrobust import ops
from pyrobust.files import write_json, write_text
from pyrobust.models import ModelSpec, build_model

RESULTS = Path(__file__).parent / "results"
IMAGE = (3, 32, 32)
EPSILON = 8 / 255
# Images in a batch. On a GPU a tensor of 201 MB is several times as large as any L2 cache.
BATCH_SIZES = {"cpu": 1024, "cuda": 16384}
_BUSY_CYCLES = 2_000_000  # of a GPU's clock: about a millisecond


@dataclass(frozen=True)
class Case:
    """One operator: ours, the plain lines, and the bytes that must move."""

    name: str
    ours: Callable[[], Any]
    plain: Callable[[], Any] | None
    compiled: Callable[[], Any] | None
    num_bytes: int


def main() -> None:
    """Time every case and write the tables."""
    arguments = _arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    clock = _cuda_time if arguments.device == "cuda" else _host_time
    bandwidth = _copy_bandwidth(arguments.device, clock, arguments.rounds)
    result: dict[str, Any] = {
        "device": _device_name(arguments.device),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "threads": torch.get_num_threads(),
        "batch": [arguments.batch_size, *IMAGE],
        "rounds": arguments.rounds,
        "copy_gb_per_s": bandwidth / 1e9,
        "rows": [],
    }
    name = "operators-" + result["device"].lower().replace(" ", "-")

    def write() -> None:
        if not arguments.only:
            write_json(arguments.results / f"{name}.json", result)
            write_text(arguments.results / f"{name}.md", _table(result))

    for make in (_steps, _losses, _averaging, _loading):
        for case in make(arguments.device, arguments.batch_size):
            if arguments.only in case.name:
                result["rows"].append(_measure(case, clock, arguments, bandwidth))
                write()  # what is measured is kept, whatever happens next
    if arguments.device == "cpu" and arguments.only in "loader":
        result["loader_images_per_s"] = _loader_speed(arguments.loader_images)
        write()
    print(_table(result))


def _steps(device: str, count: int) -> list[Case]:
    x, grad = torch.rand(count, *IMAGE, device=device), torch.randn(count, *IMAGE, device=device)
    x_adv = (x + 0.01).clamp(0, 1)
    moments = [torch.zeros_like(x), torch.zeros_like(x)]
    ids = torch.arange(count, device=device)
    ones, none = torch.ones(count, device=device), torch.zeros(count, device=device).bool()
    state = ops.ApgdState.start(x_adv, grad, ones, ~none, EPSILON)
    size = state.step_size.view(-1, 1, 1, 1)
    best = [x_adv.clone(), grad.clone(), ones.clone(), x_adv.clone()]
    cases = []

    def add(name: str, ours: Any, plain_function: Any, arguments: tuple[Any, ...], k: int) -> None:
        compiled = torch.compile(plain_function)
        cases.append(
            Case(
                name,
                ours,
                lambda: plain_function(*arguments),
                lambda: compiled(*arguments),
                k * x.numel() * 4,
            )
        )

    def track() -> None:
        state.loss_best.zero_()
        ops.apgd_track_(state, grad, ones, none)

    def plain_track() -> None:
        best[2].zero_()
        plain.apgd_track(x_adv, grad, ones, none, *best)

    step, own = (x_adv, x, grad), (x_adv.clone(), x, grad)
    adam = (x_adv.clone(), x, grad, *moments)
    walk = (x_adv, x_adv.clone(), x, grad, size)
    add("linf_step_", lambda: ops.linf_step_(*own, 0.01, EPSILON), plain.linf_step,
        (*step, 0.01, EPSILON), 4)  # fmt: skip
    add("l2_step_", lambda: ops.l2_step_(*own, 0.1, 0.5), plain.l2_step, (*step, 0.1, 0.5), 4)
    add("linf_adam_step_", lambda: ops.linf_adam_step_(*adam, 3, 0.01, EPSILON),
        plain.linf_adam_step, (*adam, EPSILON), 8)  # fmt: skip
    add("l2_adam_step_", lambda: ops.l2_adam_step_(*adam, 3, 0.01, 0.5), plain.l2_adam_step,
        (*adam, 0.5), 8)  # fmt: skip
    add("apgd_step_ linf", lambda: ops.apgd_step_(state, x, grad, EPSILON, "linf"),
        plain.apgd_step_linf, (*walk, EPSILON), 6)  # fmt: skip
    add("apgd_step_ l2", lambda: ops.apgd_step_(state, x, grad, 0.5, "l2"), plain.apgd_step_l2,
        (*walk, 0.5), 6)  # fmt: skip
    cases.append(Case("apgd_track_", track, plain_track, None, 5 * x.numel() * 4))
    add("random_start linf", lambda: ops.random_start(x, ids, EPSILON, "linf", 0, 0),
        plain.linf_start, (x, EPSILON), 2)  # fmt: skip
    add("random_start l2", lambda: ops.random_start(x, ids, 0.5, "l2", 0, 0), plain.l2_start,
        (x, 0.5), 2)  # fmt: skip
    normal = lambda: torch.randn(count, *IMAGE, device=device)  # noqa: E731
    cases.append(Case("normal", lambda: ops.normal(ids, IMAGE, 0), normal, None, x.numel() * 4))
    return cases


def _losses(device: str, count: int) -> list[Case]:
    cases = []
    for classes in (10, 100):
        logits = torch.randn(count, classes, device=device)
        labels = torch.randint(0, classes, (count,), device=device)
        targets = (labels + 1) % classes
        adversarial = logits.roll(1, 0)
        for loss, others in [
            ("cross_entropy", (labels,)), ("margin", (labels,)), ("dlr", (labels,)),
            ("targeted_dlr", (labels, targets)), ("trades_kl", (adversarial,)),
        ]:  # fmt: skip
            ours, lines = getattr(ops, loss), getattr(plain, loss)
            compiled = torch.compile(lines)
            operands = 4 if loss == "trades_kl" else 2
            cases.append(
                Case(
                    f"{loss} K={classes}",
                    lambda f=ours, o=others, z=logits: f(z, *o),
                    lambda f=lines, o=others, z=logits: plain.with_grad(f, z, *o),
                    lambda f=compiled, o=others, z=logits: plain.with_grad(f, z, *o),
                    operands * logits.numel() * 4,
                )
            )
    return cases


def _averaging(device: str, count: int) -> list[Case]:
    spec = ModelSpec("wrn-28-10", "silu", 10, (32, 32, 3), (0.5,) * 3, (0.25,) * 3)
    params = [p.detach().to(device) for p in build_model(spec).parameters()]
    grads = [0.01 * torch.randn_like(p) for p in params]
    buffers = [torch.zeros_like(p) for p in params]
    averages = [p.clone() for p in params]
    decayed = [p.dim() > 1 for p in params]
    num_bytes = 4 * sum(p.numel() for p in params)
    trained = [p.clone().requires_grad_() for p in params]
    for param, grad in zip(trained, grads, strict=True):
        param.grad = grad
    optimizer = torch.optim.SGD(
        trained, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, foreach=True
    )
    lists = [[t.clone() for t in row] for row in (params, grads, buffers, averages)]
    fused = torch.compile(plain.sgd_ema_step)
    lerp = torch.compile(plain.ema_update)

    def ours() -> None:
        ops.sgd_ema_step_(params, grads, buffers, averages, decayed, 0.1, 0.9, 5e-4, 0.995)

    def optim() -> None:
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, trained, 0.005)

    return [
        Case("sgd_ema_step_ wrn-28-10", ours, optim, lambda: fused(*lists), 7 * num_bytes),
        Case(
            "ema_update_ wrn-28-10",
            lambda: ops.ema_update_(averages, params, 0.995),
            lambda: plain.ema_update(averages, params),
            lambda: lerp(averages, params),
            3 * num_bytes,
        ),
    ]


def _loading(device: str, count: int) -> list[Case]:
    height, width, channels = IMAGE[1], IMAGE[2], IMAGE[0]
    images = torch.randint(
        0, 256, (50_000, height, width, channels), dtype=torch.uint8, device=device
    )
    index = torch.randint(0, len(images), (count,), device=device)
    cases = []
    for dtype in (torch.float32, torch.bfloat16):
        for last in (False, True):
            layout = "channels last" if last else "channels first"
            size = count * images[0].numel() * (1 + dtype.itemsize)
            ours = lambda d=dtype, cl=last: ops.gather_augment(  # noqa: E731
                images, index, index, 0, 0, 4, True, d, cl
            )
            name = f"gather_augment {str(dtype).removeprefix('torch.')} {layout}"
            cases.append(Case(name, ours, None, None, size))
    return cases


def _measure(
    case: Case, clock: Callable[..., float], arguments: argparse.Namespace, bandwidth: float
) -> dict[str, Any]:
    variants = {"ours": case.ours, "eager": case.plain, "compiled": case.compiled}
    if arguments.no_compile:
        del variants["compiled"]
    run = {name: function for name, function in variants.items() if function is not None}
    times: dict[str, list[float]] = {name: [] for name in run}
    for function in run.values():
        for _ in range(3):
            function()
    for _ in range(arguments.rounds):
        for name, function in run.items():
            times[name].append(clock(function))
    row: dict[str, Any] = {"operator": case.name, "bytes": case.num_bytes}
    for name, seconds in times.items():
        low, middle, high = statistics.quantiles(seconds, n=4)
        row[name] = {"median_ms": 1e3 * middle, "quartiles_ms": [1e3 * low, 1e3 * high],
                     "min_ms": 1e3 * min(seconds)}  # fmt: skip
        if arguments.device == "cuda":
            row[name]["launches"] = _launches(run[name])
    row["of_copy"] = case.num_bytes / bandwidth / statistics.median(times["ours"])
    for name in ("eager", "compiled"):
        if name in times:
            row[f"over_{name}"] = statistics.median(times[name]) / statistics.median(times["ours"])
    return row


def _host_time(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _cuda_time(function: Callable[[], Any]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    # The GPU is busy until all is launched: the events see its work and not the host's.
    torch.cuda._sleep(_BUSY_CYCLES)
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def _launches(function: Callable[[], Any]) -> int:
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        function()
        torch.cuda.synchronize()
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profile.events())


def _copy_bandwidth(device: str, clock: Callable[..., float], rounds: int) -> float:
    """Return bytes per second that `copy_` reads and writes, on 256 MB."""
    source = torch.rand(1 << 26, device=device)
    target = torch.empty_like(source)
    copy = lambda: target.copy_(source)  # noqa: E731
    copy()
    return 2 * 4 * source.numel() / statistics.median(clock(copy) for _ in range(rounds))


class _Photos(Dataset[Tensor]):
    """The usual map-style data set: one image at a time through torchvision's transforms."""

    def __init__(self, count: int) -> None:
        from torchvision import transforms

        self.images = torch.randint(0, 256, (count, *IMAGE[1:], 3), dtype=torch.uint8).numpy()
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(IMAGE[1], padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        result: Tensor = self.transform(self.images[index])
        return result


def _loader_speed(num_images: int) -> float:
    """Return images per second of a DataLoader with two workers, its start left out."""
    size = min(1024, num_images // 10)
    loader = iter(DataLoader(_Photos(num_images), batch_size=size, shuffle=True, num_workers=2))
    for _ in range(5):
        next(loader)
    start, count = time.perf_counter(), 0
    for batch in loader:
        count += len(batch)
    return count / (time.perf_counter() - start)


def _table(result: dict[str, Any]) -> str:
    lines = [
        f"# Operators on {result['device']}",
        "",
        f"{result['threads']} threads, torch {result['versions']['torch']}, batch "
        f"{'×'.join(map(str, result['batch']))}, median of {result['rounds']} rounds with "
        f"quartiles; copy at {result['copy_gb_per_s']:.1f} GB/s.",
        "",
        "| operator | ours, ms | of copy | over eager | over compiled | images/s |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        ours = row["ours"]
        low, high = ours["quartiles_ms"]
        ratios = [
            f"{row[key]:.1f}×" if key in row else "" for key in ("over_eager", "over_compiled")
        ]
        images = result["batch"][0] / ours["median_ms"] * 1e3
        shown = f"{images:,.0f}" if "gather" in row["operator"] else ""
        lines.append(
            f"| {row['operator']} | {ours['median_ms']:.3f} ({low:.3f}–{high:.3f}) | "
            f"{row['of_copy']:.0%} | {' | '.join(ratios)} | {shown} |"
        )
    if "loader_images_per_s" in result:
        speed = result["loader_images_per_s"]
        lines += ["", f"DataLoader with two workers and torchvision: {speed:,.0f} images/s."]
    return "\n".join(lines) + "\n"


def _device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch-size", type=int, help=f"{BATCH_SIZES} where not given")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--loader-images", type=int, default=50_000, help="of the DataLoader")
    parser.add_argument("--threads", type=int, help="of the CPU; all where not given")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--only", default="", help="operators whose name holds this; no file")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder that the numbers are written to"
    )
    arguments = parser.parse_args()
    arguments.batch_size = arguments.batch_size or BATCH_SIZES[arguments.device]
    return arguments


if __name__ == "__main__":
    main()

"""What holds for every operator: opcheck, torch.compile, threads, instruction sets, the build."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pyrobust import ops

ROOT = Path(__file__).parents[2]
core = torch.ops.pyrobust


def arguments(device: str, shape: tuple[int, ...] = (3, 2, 4, 5)) -> dict[str, tuple[Any, ...]]:
    """Return sample arguments of every operator, by its name."""
    generator = torch.Generator().manual_seed(0)

    def random(*sizes: int) -> Tensor:
        return torch.rand(sizes, generator=generator).to(device)

    count = shape[0]
    x, x_adv, grad = (random(*shape) for _ in range(3))
    moments = [random(*shape), random(*shape)]
    ids = torch.arange(count, device=device)
    logits = random(count, 6)
    correct = torch.arange(count, device=device) % 2 == 0
    per_sample = [random(count) for _ in range(5)]
    lists = [[random(3, 2), random(7)] for _ in range(4)]
    images = (255 * random(5, 4, 6, 3)).to(torch.uint8)
    adam = (x_adv, x, grad, *moments, 2, 0.1, 0.3, 0.9, 0.999, 1e-9)
    return {
        "linf_step_": (x_adv, x, grad, 0.1, 0.3),
        "l2_step_": (x_adv, x, grad, 0.1, 0.3),
        "linf_adam_step_": adam,
        "l2_adam_step_": adam,
        "apgd_step_": (x_adv, moments[0], x, grad, per_sample[0], 0.3, True, 0.75),
        "apgd_track_": (
            x_adv, grad, per_sample[0], correct, random(*shape), random(*shape), random(*shape),
            *per_sample[1:], ~correct, random(count), correct.clone(), 3, 0.75,
        ),
        "l1_step_": (x_adv, x, grad, per_sample[0], 1 + 3 * ids, 0.3),
        "l1_project_": (x_adv, x, 0.3),
        "random_start": (x, ids, 0.3, True, 1, 2, False),
        "normal": (ids, [3, 5], 1, 2, torch.float32),
        "uniform": (ids, [3, 5], 1, 2, torch.bfloat16),
        "random_signs": (ids, [], 1, 2, torch.float64),
        "cross_entropy": (logits, None, random(count, 6)),
        "trades_kl": (logits, random(count, 6)),
        "margin": (logits, ids),
        "dlr": (logits, ids),
        "targeted_margin": (logits, ids, ids + 1),
        "targeted_dlr": (logits, ids, ids + 1),
        "sgd_ema_step_": (*lists, [True, False], 0.1, 0.9, 5e-4, 0.99),
        "ema_update_": (lists[0], lists[1], 0.9),
        "gather_augment": (images, ids, ids, 1, 2, 2, True, torch.float32, True),
    }  # fmt: skip


NAMES = list(arguments("cpu"))


def test_every_operator_has_sample_arguments() -> None:
    schemas = torch._C._jit_get_all_schemas()
    registered = {s.name.split("::")[1] for s in schemas if s.name.startswith("pyrobust::")}
    assert registered == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_opcheck_passes(name: str, device: str) -> None:
    torch.library.opcheck(getattr(core, name).default, arguments(device)[name])


def attack(x: Tensor, weight: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
    """Three steps of an attack on a linear classifier, with every kind of operator."""
    x_adv = ops.random_start(x, ids, 0.1, "linf", 0, 0)
    moments = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(1, 3):
        _, grad_logits = ops.margin(x_adv.flatten(1) @ weight, labels)
        grad = (grad_logits @ weight.t()).view_as(x)
        ops.linf_adam_step_(x_adv, x, grad, *moments, step, 0.1, 0.1)
        ops.l2_step_(x_adv, x, grad, 0.1, 0.5)
    ops.ema_update_([x_adv], [x], 0.5)
    return x_adv


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_an_attack_compiles_without_a_graph_break(backend: str, device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 5, 5, generator=generator).to(device)
    weight = torch.randn(75, 6, generator=generator).to(device)
    labels = torch.arange(4, device=device)
    compiled = torch.compile(attack, fullgraph=True, backend=backend)
    expected = attack(x, weight, labels, labels)
    torch.testing.assert_close(compiled(x, weight, labels, labels), expected)


def flatten(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for item in value for t in flatten(item)] if isinstance(value, list | tuple) else []


def outcome(name: str, device: str, shape: tuple[int, ...] = (40, 3, 40, 40)) -> list[Tensor]:
    """Return what an operator returned and what it wrote."""
    values = arguments(device, shape)[name]
    if name in ("cross_entropy", "margin", "dlr", "targeted_margin", "targeted_dlr"):
        values = tuple(v % 6 if isinstance(v, Tensor) and v.dtype == torch.int64 else v
                       for v in values)  # fmt: skip
    if name == "gather_augment":
        values = (values[0], values[1] % 5, *values[2:])
    return flatten([getattr(core, name)(*values), list(values)])


@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_depend_on_the_number_of_threads(name: str) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = outcome(name, "cpu")
        torch.set_num_threads(3)
        together = outcome(name, "cpu")
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, alone, together))


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(40, 3, 40, 40), (9, 3, 7, 3), (3, 2, 4, 5)])
def test_cpu_and_cuda_give_the_same_bits(name: str, shape: tuple[int, ...]) -> None:
    on_cuda = [tensor.cpu() for tensor in outcome(name, "cuda", shape)]
    assert all(map(torch.equal, outcome(name, "cpu", shape), on_cuda))


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_operators_can_be_captured_in_a_cuda_graph(name: str) -> None:
    values = arguments("cuda")[name]
    run = getattr(core, name)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run(*values)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run(*values)
    graph.replay()
    torch.cuda.synchronize()


def fingerprints(shape: tuple[int, ...] = (40, 3, 40, 40)) -> list[str]:
    """Return a hash of the results of each operator."""
    lines = []
    for name in NAMES:
        digest = hashlib.sha256()
        for tensor in outcome(name, "cpu", shape):
            digest.update(tensor.double().numpy().tobytes())
        lines.append(f"{name} {shape} {digest.hexdigest()}")
    return lines


FINGERPRINT = f"import runpy; print(runpy.run_path({__file__!r})['fingerprints']())"


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=600,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_every_instruction_set_gives_the_same_bits() -> None:
    runs = [python(FINGERPRINT, PYROBUST_ISA=isa) for isa in ("baseline", "avx2", "avx512")]
    assert all(run.returncode == 0 for run in runs), runs[0].stderr
    assert len({run.stdout for run in runs}) == 1


def test_an_instruction_set_that_does_not_exist_is_named() -> None:
    run = python(FINGERPRINT, PYROBUST_ISA="sse9")
    assert run.returncode != 0
    assert "PYROBUST_ISA is 'sse9', expected baseline, avx2 or avx512" in run.stderr


def test_a_missing_build_is_an_error_that_names_the_command() -> None:
    run = python("import sys; sys.modules['pyrobust._C'] = None; import pyrobust.ops")
    assert run.returncode != 0
    assert "python setup.py build_ext --inplace" in run.stderr


@pytest.mark.gpu
def test_operators_run_on_the_current_stream() -> None:
    stream = torch.cuda.Stream()
    x = torch.rand(64, 3, 32, 32, device="cuda")
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        result = x.clone()
        ops.linf_step_(result, x, x - 0.5, 0.1, 0.1)
    stream.synchronize()
    host = x.cpu()
    expected = host.clone()
    ops.linf_step_(expected, host, host - 0.5, 0.1, 0.1)
    assert torch.equal(result.cpu(), expected)

"""One training step against the same step in plain PyTorch, and what it leaves alone."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError
from pyrobust.models import ModelSpec, batch_statistics, build_model
from pyrobust.models.batch_norm import running_momentum, running_statistics
from pyrobust.planning.work import classifier, training_passes
from pyrobust.training.classifier import ClassifierTask, TrainingInputs, new_model
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loader import target_table
from pyrobust.training.runtime import Runtime
from pyrobust.training.train_robust import plan_batches, robust_task, train_robust
from pyrobust.training.weight_averaging import AveragedSgd, decayed_parameters
from tests.training.plain_training import PlainTraining

ONE = Processes(torch.device("cpu"))


def make_settings(**changes: Any) -> TrainSettings:
    values = {
        "architecture": "wrn-10-1",
        "epsilon": "0.1",
        "batch_size": 8,
        "epochs": 1.0,
        "epoch_size": 160,
        "mixing_factor": 0.5,
        "validations": 1,
        "gap_images": 0,
        "attack_steps": 2,
        "warmup": 0.0,
    }
    return TrainSettings(**{**values, **changes})


def make_task(
    digits: Path,
    samples: Path,
    settings: TrainSettings,
    resident_mb: int = 64,
    processes: Processes = ONE,
    cuda_graph: bool = False,
) -> tuple[ClassifierTask, TrainingInputs, ModelSpec]:
    inputs = TrainingInputs.open(digits, samples)
    spec = inputs.spec(settings.architecture, settings.activation)
    plan = plan_batches(inputs, settings)
    steps = int(settings.epochs * settings.epoch_size / settings.batch_size)
    runtime = Runtime(resident_mb=resident_mb, cuda_graph=cuda_graph)
    task = robust_task(inputs, plan, settings, steps, runtime, processes)
    return task, inputs, spec


def cosine(step: int) -> tuple[float, float, float]:
    """Return rate, momentum and averaging decay of gowal21 without warm-up, of 20 steps."""
    return 0.05 * (1 + math.cos(math.pi * step / 20)), 0.9, (1 + step) / (10 + step)


def cyclic(step: int) -> tuple[float, float, float]:
    """Return those of wang23: a copy of the weights for two steps, and torch's cycle of 20."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.9)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=20, pct_start=0.25
    )
    for _ in range(step):
        optimizer.step()
        cycle.step()
    group = optimizer.param_groups[0]
    return group["lr"], group["momentum"], 0.0 if step < 2 else (step - 1) / (step + 8)


# Contiguous: other rounding would turn the sign of a gradient near zero.
WANG23 = {
    "recipe": "wang23",
    "warmup": 0.25,
    "averaging_start": 0.1,
    "channels_last": False,
}

# Steps that the sign of no gradient decides.
OTHERS = {"channels_last": False, "attack_step_size": "0.02"}


@pytest.mark.parametrize(
    ("changes", "schedule"),
    [
        ({}, cosine),
        ({"channels_last": False}, cosine),
        ({"norm": "l2", "epsilon": "1"}, cosine),
        ({**WANG23, "attack_step_size": "0.05"}, cyclic),
        ({**WANG23, "norm": "l2", "epsilon": "1", "attack_step_size": "0.2"}, cyclic),
        ({"objective": "adversarial_training", **OTHERS}, cosine),
        ({"objective": "mart", **OTHERS}, cosine),
        ({"objective": "mart", **OTHERS, "batch_norm_updates": "both"}, cosine),
        ({"awp_gamma": 0.05, **OTHERS}, cosine),
        ({"awp_gamma": 0.05, **OTHERS, "batch_norm_updates": "both"}, cosine),
        ({"objective": "adversarial_training", "awp_gamma": 0.05, **OTHERS}, cosine),
        ({"objective": "mart", "awp_gamma": 0.05, **OTHERS}, cosine),
    ],
    ids=[
        *("gowal21", "gowal21-contiguous", "gowal21-l2", "wang23", "wang23-l2"),
        *("madry18", "mart", "mart-both"),
        *("trades-awp", "trades-awp-both", "madry18-awp", "mart-awp"),
    ],
)
def test_three_steps_are_those_of_the_recipe_in_plain_pytorch(
    changes: dict[str, Any],
    schedule: Callable[[int], tuple[float, float, float]],
    digits: Path,
    samples: Path,
) -> None:
    settings = make_settings(**{"zero_logits": False, **changes})
    task, inputs, spec = make_task(digits, samples, settings)
    plain = PlainTraining(inputs, spec, settings)
    for step in range(3):
        ours, theirs = task.step(step), plain.step(step, *schedule(step))
        terms = ours[: len(theirs)]
        torch.testing.assert_close(terms, torch.tensor(theirs), rtol=1e-3, atol=1e-4)
    state = task.state()
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(state[f"model.{name}"], value, rtol=2e-3, atol=2e-4, msg=name)
    for (name, _), value in zip(plain.model.named_parameters(), plain.averages, strict=True):
        torch.testing.assert_close(state[f"average.{name}"], value, rtol=2e-3, atol=2e-4)


def test_weight_decay_spares_batch_norm_and_nothing_else(digits: Path) -> None:
    spec = TrainingInputs.open(digits).spec("wrn-10-1", "silu")
    model = build_model(spec)
    names = [name for name, _ in model.named_parameters()]
    decayed = [n for n, d in zip(names, decayed_parameters(model), strict=True) if d]
    assert [n for n in names if n not in decayed] == [n for n in names if "batchnorm" in n]
    assert {"logits.weight", "logits.bias", "init_conv.weight"} <= set(decayed)


def statistics_after_a_step(digits: Path, samples: Path, **changes: Any) -> list[Tensor]:
    task, _, _ = make_task(digits, samples, make_settings(**changes))
    task.step(0)
    return running_statistics(task.averaged_model())


def test_only_the_adversarial_pass_moves_the_running_statistics(
    digits: Path, samples: Path
) -> None:
    """After one step they are the statistics of the adversarial batch; with both, a mean."""
    settings = make_settings(zero_logits=False)
    _, inputs, spec = make_task(digits, samples, settings)
    plain = PlainTraining(inputs, spec, settings)
    x, _, _ = plain.batch(0)
    with batch_statistics(plain.model):
        x_adv = plain.attack(x, plain.model(x).softmax(1).detach(), 0)
    first_layer = plain.model.init_conv  # its output is what the first batch norm sees
    mean, std = plain.model.mean, plain.model.std
    clean, adversarial = (first_layer((z - mean) / std).mean((0, 2, 3)) for z in (x, x_adv))
    only = statistics_after_a_step(digits, samples, zero_logits=False)[0]
    torch.testing.assert_close(only, adversarial, rtol=1e-3, atol=1e-4)
    both = statistics_after_a_step(digits, samples, zero_logits=False, batch_norm_updates="both")[0]
    share = running_momentum(2)
    expected = (1 - share) * clean + share * adversarial
    torch.testing.assert_close(both, expected, rtol=1e-3, atol=1e-4)


def test_bfloat16_passes_keep_float32_weights_and_come_close(digits: Path, samples: Path) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        settings = make_settings(precision=precision, zero_logits=False, batch_size=40)
        task, _, _ = make_task(digits, samples, settings)
        losses[precision] = task.step(0)
        state = task.state()
        assert {v.dtype for v in state.values() if v.is_floating_point()} == {torch.float32}
    torch.testing.assert_close(losses["bfloat16"], losses["float32"], rtol=0.05, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_attack_trains_alike(precision: str, digits: Path, samples: Path) -> None:
    metrics = []
    for compiled in (False, True):
        settings = make_settings(
            zero_logits=False, batch_size=40, precision=precision, compiled_attack=compiled
        )
        task, _, _ = make_task(digits, samples, settings)
        metrics.append(torch.stack([task.step(step) for step in range(3)]))
    within = 1e-4 if precision == "float32" else 0.05
    torch.testing.assert_close(metrics[1], metrics[0], rtol=within, atol=within)
    assert not torch.equal(metrics[1], metrics[0])  # it was compiled indeed


def test_a_cuda_graph_without_a_gpu_is_refused_and_an_old_result_is_kept(
    digits: Path, samples: Path, tmp_path: Path
) -> None:
    (tmp_path / "training.json").write_text("{}")
    runtime = Runtime(device="cpu", cuda_graph=True)
    with pytest.raises(UserError, match="--cuda-graph needs a GPU, but the device is cpu"):
        train_robust(digits, samples, tmp_path, make_settings(), runtime)
    assert (tmp_path / "training.json").read_text() == "{}"


def test_mapped_stores_give_the_same_bits_as_resident_ones(digits: Path, samples: Path) -> None:
    tasks = [make_task(digits, samples, make_settings(), mb)[0] for mb in (64, 0)]
    for step in range(2):
        first, second = (task.step(step) for task in tasks)
        assert torch.equal(first, second)


def test_smoothed_targets_are_those_of_the_source() -> None:
    table = target_table(10, smoothing=(0.0, 0.1))
    torch.testing.assert_close(table[0], torch.eye(10))
    assert table[1, 3, 3] == pytest.approx(0.91)
    assert table[1, 3, 4] == pytest.approx(0.01)
    torch.testing.assert_close(table.sum(2), torch.ones(2, 10))


def test_the_averaged_model_is_a_copy_that_training_does_not_touch(digits: Path) -> None:
    spec = TrainingInputs.open(digits).spec("wrn-10-1", "silu")
    model = new_model(spec, 0, zero_logits=False, channels_last=True, device=ONE.device)
    optimizer = AveragedSgd(model, weight_decay=0.0)
    before = [p.clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(learning_rate=0.1, momentum=0.9, averaging_decay=0.75)
    pairs = zip(optimizer.averaged.parameters(), model.parameters(), before, strict=True)
    for average, now, start in pairs:
        torch.testing.assert_close(now, start - 0.1 * 1.9)
        torch.testing.assert_close(average, 0.75 * start + 0.25 * now)
        assert now.grad is None
    assert isinstance(optimizer.averaged.logits, nn.Linear)
    assert not any(p.requires_grad for p in optimizer.averaged.parameters())


class Counter(TorchDispatchMode):
    """Counts operations; FlopCounterMode fails in gradients of images alone."""

    flops = 0

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ):
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        self.flops += count(*args, **(kwargs or {}), out_val=result) if count else 0
        return result


@pytest.mark.parametrize("objective", ["trades", "adversarial_training", "mart"])
@pytest.mark.parametrize("awp_gamma", [0.0, 0.01])
def test_a_step_makes_as_many_passes_as_a_plan_counts(
    objective: str, awp_gamma: float, digits: Path, samples: Path
) -> None:
    settings = make_settings(objective=objective, awp_gamma=awp_gamma, attack_steps=3)
    task, inputs, _ = make_task(digits, samples, settings)
    with Counter() as counter:
        task.step(0)
    forward, _ = classifier(settings.architecture, inputs.dataset.train.image_shape, 10)
    passes = counter.flops / forward / settings.batch_size
    assert passes == pytest.approx(training_passes(settings), rel=0.05)

"""One TRADES step against the same step in plain PyTorch, and what it leaves alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrobust import ops
from pyrobust.config.training import TrainSettings
from pyrobust.errors import UserError
from pyrobust.models import ModelSpec, batch_statistics, build_model, tracked_statistics
from pyrobust.models.batch_norm import running_momentum, running_statistics
from pyrobust.training.inputs import TrainingInputs
from pyrobust.training.loader import target_table
from pyrobust.training.optimizer import AveragedSgd, decayed_parameters
from pyrobust.training.processes import Processes
from pyrobust.training.robust import plan_batches, robust_task
from pyrobust.training.runtime import Runtime
from pyrobust.training.task import ClassifierTask, new_model

ONE = Processes(torch.device("cpu"))
EPSILON = 0.1


def make_settings(**changes: Any) -> TrainSettings:
    values = {
        "architecture": "wrn-10-1",
        "epsilon": str(EPSILON),
        "batch_size": 8,
        "epochs": 1.0,
        "epoch_size": 160,
        "mixing_factor": 0.5,
        "validations": 1,
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
    task = robust_task(inputs, plan, spec, settings, steps, runtime, processes)
    return task, inputs, spec


class PlainTrades:
    """The authors' step, written with torch.optim and torch's own losses."""

    def __init__(self, inputs: TrainingInputs, spec: ModelSpec, settings: TrainSettings) -> None:
        self.inputs, self.settings = inputs, settings
        self.plan = plan_batches(inputs, settings)
        self.model = new_model(
            spec, settings.seed, settings.zero_logits, channels_last=False, device=ONE.device
        )
        decayed = decayed_parameters(self.model)
        groups: list[dict[str, Any]] = [
            {
                "params": [
                    p for p, d in zip(self.model.parameters(), decayed, strict=True) if d == w
                ],
                "weight_decay": settings.weight_decay * w,
            }
            for w in (True, False)
        ]
        self.optimizer = torch.optim.SGD(groups, lr=1, momentum=0.9, nesterov=True)
        self.averages = [p.detach().clone() for p in self.model.parameters()]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        chosen = self.plan.batch(step)
        stores = (self.inputs.dataset.train, self.inputs.generated)
        images, targets = [], []
        for source, row in zip(chosen.generated.tolist(), chosen.index.tolist(), strict=True):
            store = stores[source]
            assert store is not None
            images.append(torch.from_numpy(store.images()[row]))
            one_hot = F.one_hot(torch.tensor(store.labels()[row]), 10).float()
            targets.append(0.9 * one_hot + 0.01 if source else one_hot)
        positions = torch.from_numpy(chosen.positions)
        x = ops.gather_augment(
            torch.stack(images), torch.arange(8), positions, self.settings.seed, step, 1, False
        )
        return x, torch.stack(targets)

    def step(self, step: int, rate: float) -> list[float]:
        model, settings = self.model, self.settings
        x, targets = self.batch(step)
        with batch_statistics(model):
            probs = model(x).softmax(1).detach()
            x_adv = self.attack(x, probs, step)
            clean = model(x)
        with tracked_statistics(model, running_momentum(step + 1)):
            adversarial = model(x_adv)
        clean_loss = -(targets * clean.log_softmax(1)).sum(1).mean()
        robust_loss = F.kl_div(adversarial.log_softmax(1), clean.softmax(1), reduction="batchmean")
        loss = clean_loss + settings.trades_beta * robust_loss
        self.optimizer.zero_grad()
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        decay = min(0.995, (1 + step) / (10 + step))
        for average, parameter in zip(self.averages, model.parameters(), strict=True):
            average.mul_(decay).add_(parameter.detach(), alpha=1 - decay)
        return [loss.item(), clean_loss.item(), robust_loss.item()]

    def attack(self, x: Tensor, probs: Tensor, step: int) -> Tensor:
        positions = torch.arange(len(x))
        x_adv = ops.random_start(x, positions, EPSILON, "linf", self.settings.seed, step)
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        for inner in range(1, 3):
            x_adv = x_adv.detach().requires_grad_()
            loss = -(probs * self.model(x_adv).log_softmax(1)).sum()
            (grad,) = torch.autograd.grad(loss, x_adv)
            first = 0.9 * first + 0.1 * grad
            second = 0.999 * second + 0.001 * grad.square()
            direction = (first / (1 - 0.9**inner)) / ((second / (1 - 0.999**inner)).sqrt() + 1e-9)
            moved = x_adv.detach() + (0.1 if inner == 1 else 0.01) * direction
            x_adv = torch.minimum(torch.maximum(moved, x - EPSILON), x + EPSILON).clamp(0, 1)
        return x_adv.detach()


@pytest.mark.parametrize("channels_last", [True, False])
def test_three_steps_are_those_of_the_authors_in_plain_pytorch(
    channels_last: bool, digits: Path, samples: Path
) -> None:
    settings = make_settings(channels_last=channels_last, zero_logits=False)
    task, inputs, spec = make_task(digits, samples, settings)
    plain = PlainTrades(inputs, spec, settings)
    for step in range(3):
        ours = task.step(step)
        theirs = plain.step(step, rate=task.log_facts(step)["learning_rate"])
        torch.testing.assert_close(ours[:3], torch.tensor(theirs), rtol=1e-3, atol=1e-4)
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
    plain = PlainTrades(inputs, spec, settings)
    x, _ = plain.batch(0)
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


@pytest.mark.gpu
@pytest.mark.parametrize("resident_mb", [64, 0])
def test_a_gpu_follows_the_cpu(resident_mb: int, digits: Path, samples: Path) -> None:
    settings = make_settings(zero_logits=False)
    gpu = Processes(torch.device("cuda", 0))
    tasks = [
        make_task(digits, samples, settings, resident_mb, processes)[0] for processes in (ONE, gpu)
    ]
    for step in range(3):
        ours, theirs = (task.step(step).cpu() for task in tasks)
        torch.testing.assert_close(theirs, ours, rtol=0.02, atol=0.02)
    validations = [task.validate(lambda: False) for task in tasks]
    assert validations[0] == pytest.approx(validations[1], abs=0.05)


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


@pytest.mark.gpu
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_cuda_graph_trains_with_the_same_bits(
    norm: str, precision: str, digits: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    settings = make_settings(zero_logits=False, norm=norm, precision=precision)
    gpu = Processes(torch.device("cuda", 0))
    tasks = [
        make_task(digits, samples, settings, processes=gpu, cuda_graph=graph)[0]
        for graph in (False, True)
    ]
    for step in range(4):
        eager, replayed = (task.step(step) for task in tasks)
        assert torch.equal(eager, replayed)


def test_a_cuda_graph_without_a_gpu_is_refused(digits: Path, samples: Path) -> None:
    with pytest.raises(UserError, match="cuda_graph is on and the device is cpu"):
        make_task(digits, samples, make_settings(), cuda_graph=True)


def test_mapped_stores_give_the_same_bits_as_resident_ones(digits: Path, samples: Path) -> None:
    tasks = [make_task(digits, samples, make_settings(), mb)[0] for mb in (64, 0)]
    for step in range(2):
        first, second = (task.step(step) for task in tasks)
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("changes", "originals", "generated"),
    [({}, 1.0, 0.9 + 0.1 / 10), ({"label_smoothing_on": "all"}, 0.91, 0.91)],
)
def test_smoothing_applies_to_the_named_sources(
    changes: dict[str, Any], originals: float, generated: float, digits: Path, samples: Path
) -> None:
    settings = make_settings(**changes)
    of_originals = settings.label_smoothing if settings.label_smoothing_on == "all" else 0.0
    table = target_table(10, (of_originals, settings.label_smoothing))
    assert table[0, 3, 3] == pytest.approx(originals)
    assert table[1, 3, 3] == pytest.approx(generated)
    assert table[1, 3, 4] == pytest.approx(0.1 / 10)
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

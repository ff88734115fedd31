"""Losses and their gradients, against plain PyTorch and its autograd."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from pyrobust import ops
from tests import reference

INF, NAN = float("inf"), float("nan")

# Loss, logits of one row, label, target, value, gradient.
ROWS = [
    ("margin", [1.0, 3.0, 2.0], 1, 0, -1.0, [0.0, -1.0, 1.0]),
    ("margin", [1.0, 3.0, 2.0], 0, 0, 2.0, [-1.0, 1.0, 0.0]),
    ("margin", [2.0, 1.0, 2.0], 1, 0, 1.0, [1.0, -1.0, 0.0]),  # a tie goes to the lowest index
    ("margin", [2.0, 2.0, 2.0], 0, 0, 0.0, [-1.0, 1.0, 0.0]),
    ("margin", [-INF, 1.0, -INF], 1, 0, -INF, [1.0, -1.0, 0.0]),
    ("targeted_margin", [1.0, 3.0, 2.0], 1, 0, -2.0, [1.0, -1.0, 0.0]),
    ("targeted_margin", [1.0, 3.0, 2.0], 1, 1, 0.0, [0.0, 0.0, 0.0]),  # the label as target
    ("dlr", [4.0, 2.0, 0.0], 0, 0, -0.5, [-0.125, 0.25, -0.125]),
    ("dlr", [4.0, 3.0, 0.0, 1.0], 2, 0, 4 / 3, [-1 / 9, 0.0, -1 / 3, 4 / 9]),
    ("dlr", [4.0, 3.0, 0.0, 1.0], 3, 0, 1.0, [0.0, 0.0, 0.0, 0.0]),  # its own third logit
    ("targeted_dlr", [4.0, 3.0, 1.0, 1.0], 0, 1, -1 / 3, [-2 / 9, 1 / 3, -1 / 18, -1 / 18]),
]


@pytest.mark.parametrize(("name", "logits", "label", "target", "value", "gradient"), ROWS)
def test_a_loss_of_one_row(
    name: str, logits: list[float], label: int, target: int, value: float,
    gradient: list[float], dtype: torch.dtype, device: str,
) -> None:  # fmt: skip
    z = torch.tensor([logits], dtype=dtype, device=device)
    indices = [torch.tensor([i], device=device) for i in (label, target)]
    arguments = indices if name.startswith("targeted") else indices[:1]
    loss, grad = getattr(ops, name)(z, *arguments)
    torch.testing.assert_close(loss.cpu(), torch.tensor([value], dtype=dtype))
    torch.testing.assert_close(grad.cpu(), torch.tensor([gradient], dtype=dtype))


LOSSES: list[tuple[str, int]] = [
    ("cross_entropy", 0), ("margin", 0), ("dlr", 0), ("targeted_margin", 1), ("targeted_dlr", 1),
]  # fmt: skip


def rows(count: int, classes: int, dtype: torch.dtype, device: str) -> tuple[Tensor, list[Tensor]]:
    """Return logits of several scales, and labels and targets."""
    generator = torch.Generator().manual_seed(classes)
    scale = torch.logspace(-2, 2, max(count, 1))[:count].view(-1, 1)
    z = (scale * torch.randn(count, classes, generator=generator)).to(dtype)
    labels = torch.randint(0, classes, (count,), generator=generator)
    targets = (labels + torch.randint(1, classes, (count,), generator=generator)) % classes
    return z.to(device), [labels.to(device), targets.to(device)]


def check_rows(
    loss: Tensor, grads: Sequence[Tensor], expected: Tensor, slopes: Sequence[Tensor]
) -> None:
    """Hold a loss and its gradients to float64 ones, within a few roundings of the row's scale."""
    bound = 5e-7 if loss.dtype == torch.float32 else 1e-14
    assert ((loss.double() - expected).abs() <= bound * (1 + expected.abs())).all()
    for grad, slope in zip(grads, slopes, strict=True):
        scale = 1 + expected.detach().abs() + slope.abs().amax(1)
        assert ((grad.double() - slope).abs().amax(1) <= bound * scale).all()


@pytest.mark.parametrize("classes", [4, 10, 100, 257, 1000])
@pytest.mark.parametrize(("name", "with_targets"), LOSSES)
def test_losses_and_gradients_match_plain_pytorch_and_autograd(
    name: str, with_targets: int, classes: int, dtype: torch.dtype, device: str
) -> None:
    z, indices = rows(64, classes, dtype, device)
    arguments = indices[: 1 + with_targets]
    loss, grad = getattr(ops, name)(z, *arguments)
    exact = z.double().requires_grad_()
    expected = getattr(reference, name)(exact, *arguments)
    (slope,) = torch.autograd.grad(expected.sum(), exact)
    check_rows(loss, [grad], expected, [slope])


@pytest.mark.parametrize("classes", [1, 2, 10, 300])
@pytest.mark.parametrize("kind", ["labels", "probabilities", "any weights"])
def test_cross_entropy_takes_labels_or_weights(
    kind: str, classes: int, dtype: torch.dtype, device: str
) -> None:
    z, _ = rows(20, max(classes, 2), dtype, device)
    z = z[:, :classes].contiguous()
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(20, classes, generator=generator, dtype=dtype).to(device)
    target = {
        "labels": weights.argmax(1),
        "probabilities": weights.softmax(1),
        "any weights": weights,
    }[kind]
    loss, grad = ops.cross_entropy(z, target)
    exact = z.double().requires_grad_()
    wide = target.double() if target.is_floating_point() else target
    expected = reference.cross_entropy(exact, wide)
    (slope,) = torch.autograd.grad(expected.sum(), exact)
    check_rows(loss, [grad], expected, [slope])


@pytest.mark.parametrize("classes", [1, 2, 10, 100, 300])
def test_trades_kl_and_both_gradients_match_plain_pytorch(
    classes: int, dtype: torch.dtype, device: str
) -> None:
    clean = rows(64, max(classes, 2), dtype, device)[0][:, :classes].contiguous()
    adversarial = clean.roll(1, 0) + 0.5 * clean
    loss, *grads = ops.trades_kl(clean, adversarial)
    exact = [clean.double().requires_grad_(), adversarial.double().requires_grad_()]
    expected = reference.trades_kl(*exact)
    slopes = torch.autograd.grad(expected.sum(), exact)
    check_rows(loss, grads, expected, slopes)


def test_trades_kl_of_equal_logits_is_zero(device: str) -> None:
    z = rows(16, 10, torch.float32, device)[0]
    for result in ops.trades_kl(z, z.clone()):
        assert (result == 0).all()


@pytest.mark.parametrize(("name", "with_targets"), LOSSES)
def test_bfloat16_logits_give_a_float32_loss_and_a_bfloat16_gradient(
    name: str, with_targets: int, device: str
) -> None:
    z, indices = rows(16, 10, torch.bfloat16, device)
    arguments = indices[: 1 + with_targets]
    loss, grad = getattr(ops, name)(z, *arguments)
    wide_loss, wide_grad = getattr(ops, name)(z.float(), *arguments)
    assert torch.equal(loss, wide_loss)
    assert torch.equal(grad, wide_grad.bfloat16())
    logits = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(logits, logits, grad)
    assert slope.dtype == torch.bfloat16


any_logit = st.floats(width=32, allow_nan=False, min_value=-(2.0**99), max_value=2.0**99)


@given(z=arrays("float32", (3, 6), elements=any_logit), label=st.integers(0, 5))
@settings(max_examples=200)
def test_losses_of_any_finite_logits_are_those_of_plain_pytorch(z: Any, label: int) -> None:
    logits, labels = torch.from_numpy(z), torch.full((3,), label)
    exact = logits.double()
    loss, grad = ops.cross_entropy(logits, labels)
    torch.testing.assert_close(
        loss.double(), reference.cross_entropy(exact, labels), rtol=1e-6, atol=1e-6
    )
    assert grad.abs().max() <= 1 and grad.sum(1).abs().max() < 1e-6
    assert torch.equal(ops.margin(logits, labels)[0], reference.margin(logits, labels))
    ratio = reference.dlr(logits, labels)
    torch.testing.assert_close(ops.dlr(logits, labels)[0], ratio, rtol=1e-6, atol=1e-6)


def test_nan_logits_give_nan_losses_in_their_own_row_only(device: str) -> None:
    z, (labels, targets) = rows(3, 6, torch.float32, device)
    labels, targets = labels * 0 + 1, targets * 0 + 2
    z[1, 2] = NAN
    for name, with_targets in LOSSES:
        loss = getattr(ops, name)(z, *[labels, targets][: 1 + with_targets])[0]
        assert loss.isnan().tolist() == [False, True, False], name
    assert ops.trades_kl(z, z)[0].isnan().tolist() == [False, True, False]


def test_zeros_keep_their_sign(device: str) -> None:
    z = torch.tensor([[-0.0, -0.0, -1.0], [0.0, -0.0, -1.0]], device=device)
    first, second = torch.tensor([0, 0], device=device), torch.tensor([1, 1], device=device)
    assert ops.margin(z, first)[0].signbit().tolist() == [False, True]
    assert ops.targeted_margin(z, first, second)[0].signbit().tolist() == [False, True]


def test_infinite_logits_follow_plain_pytorch(device: str) -> None:
    z = torch.tensor([[0.0, -INF, 1.0], [-INF, 0.0, -INF]], device=device)
    loss, grad = ops.cross_entropy(z, torch.tensor([0, 1], device=device))
    torch.testing.assert_close(loss.cpu(), torch.tensor([1.3132617, 0.0]))
    assert grad.isfinite().all()
    assert ops.cross_entropy(z, torch.tensor([1, 0], device=device))[0].tolist() == [INF, INF]


@pytest.mark.parametrize(("name", "with_targets"), LOSSES)
def test_empty_batches_and_strided_logits_are_taken(
    name: str, with_targets: int, device: str
) -> None:
    z, indices = rows(8, 10, torch.float32, device)
    arguments = indices[: 1 + with_targets]
    loss = getattr(ops, name)
    strided = loss(z.t().contiguous().t(), *arguments)
    for actual, expected in zip(strided, loss(z, *arguments), strict=True):
        assert torch.equal(actual, expected)
    assert loss(z[:0], *[index[:0] for index in arguments])[0].shape == (0,)


@pytest.mark.parametrize(
    ("name", "classes", "arguments", "error", "message"),
    [
        ("cross_entropy", 3, ([0, 3],), IndexError, "label 1 is 3, expected 0 to 2"),
        ("margin", 3, ([-1, 0],), IndexError, "label 0 is -1, expected 0 to 2"),
        ("targeted_dlr", 4, ([0, 0], [1, 9]), IndexError, "target 1 is 9, expected 0 to 3"),
        ("margin", 1, ([0, 0],), ValueError, "logits has 1 classes, expected 2 or more"),
        ("dlr", 2, ([0, 0],), ValueError, "logits has 2 classes, expected 3 or more"),
        ("targeted_dlr", 3, ([0, 0], [1, 1]), ValueError, "has 3 classes, expected 4 or more"),
        ("margin", 3, ([0, 0, 0],), ValueError, r"labels has shape \[3\], expected \[2\]"),
    ],
)
def test_wrong_arguments_are_named_with_what_was_expected(
    name: str, classes: int, arguments: tuple[list[int], ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(ops, name)(torch.zeros(2, classes), *(torch.tensor(a) for a in arguments))


def test_wrong_targets_of_the_cross_entropy_are_named() -> None:
    z = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"probs has shape \[2, 4\], expected \[2, 3\]"):
        ops.cross_entropy(z, torch.zeros(2, 4))
    with pytest.raises(TypeError, match="probs is Double, expected Float"):
        ops.cross_entropy(z, torch.zeros(2, 3).double())
    with pytest.raises(TypeError, match="labels is Int, expected Long"):
        ops.cross_entropy(z, torch.zeros(2, dtype=torch.int32))

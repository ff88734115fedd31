"""Which pass moves which statistics."""

import pytest
import torch
from torch import nn

from pyrobust.errors import UserError
from pyrobust.models import batch_statistics, tracked_statistics
from pyrobust.models.batch_norm import BatchNorm, running_momentum, set_virtual_batch

GENERATOR_SEED = 0


def make_layer() -> BatchNorm:
    generator = torch.Generator().manual_seed(GENERATOR_SEED)
    layer = BatchNorm(3).eval()
    with torch.no_grad():
        layer.weight.copy_(torch.rand(3, generator=generator) + 0.5)
        layer.bias.copy_(torch.rand(3, generator=generator))
    return layer


def make_input(count: int = 8) -> torch.Tensor:
    return torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(1)) * 3 - 1


def test_a_frozen_pass_uses_the_batch_and_changes_nothing() -> None:
    layer, x = make_layer(), make_input()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with batch_statistics(layer):
        out = layer(x)
    centred = (x - x.mean((0, 2, 3), keepdim=True)) / (
        x.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5
    ).sqrt()
    expected = centred * layer.weight.view(3, 1, 1) + layer.bias.view(3, 1, 1)
    torch.testing.assert_close(out, expected)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_running_statistics_are_the_debiased_averages_of_the_authors() -> None:
    layer = make_layer()
    mean, variance = torch.zeros(3), torch.zeros(3)
    for update in range(1, 4):
        x = make_input() * update
        with tracked_statistics(layer, running_momentum(update)):
            layer(x)
        mean = 0.99 * mean + 0.01 * x.mean((0, 2, 3))
        variance = 0.99 * variance + 0.01 * x.var((0, 2, 3), unbiased=False)
    correction = 1 - 0.99**3
    torch.testing.assert_close(layer.running_mean, mean / correction)
    torch.testing.assert_close(layer.running_var, variance / correction)
    assert layer.num_batches_tracked == 3


@pytest.mark.parametrize(("update", "momentum"), [(1, 1.0), (2, 0.502513), (10**6, 0.01)])
def test_the_first_batch_counts_fully_and_the_last_by_a_hundredth(
    update: int, momentum: float
) -> None:
    assert running_momentum(update) == pytest.approx(momentum, rel=1e-5)


def test_each_virtual_batch_has_its_own_statistics_and_the_running_ones_are_their_mean() -> None:
    layer, x = make_layer(), make_input()
    set_virtual_batch(layer, 4)
    with tracked_statistics(layer, momentum=0.5):
        out = layer(x)
    plain = make_layer()
    with batch_statistics(plain):
        torch.testing.assert_close(out, torch.cat([plain(x[:4]), plain(x[4:])]))
    means = torch.stack([x[:4].mean((0, 2, 3)), x[4:].mean((0, 2, 3))])
    torch.testing.assert_close(layer.running_mean, 0.5 * means.mean(0))
    variances = torch.stack([part.var((0, 2, 3), unbiased=False) for part in (x[:4], x[4:])])
    torch.testing.assert_close(layer.running_var, 0.5 + 0.5 * variances.mean(0))
    assert layer.num_batches_tracked == 1


def test_the_mode_before_a_context_returns_after_it_even_on_an_error() -> None:
    network = nn.Sequential(make_layer(), make_layer().train())
    with pytest.raises(RuntimeError), batch_statistics(network):
        raise RuntimeError
    assert [layer.training for layer in network] == [False, True]
    assert all(layer.tracking for layer in network)


def test_two_passes_before_one_backward_are_allowed() -> None:
    layer, x = make_layer(), make_input().requires_grad_()
    with tracked_statistics(layer, momentum=1.0):
        first = layer(x)
    with tracked_statistics(layer, momentum=0.5):
        second = layer(x + 1)
    (first.square().sum() + second.square().sum()).backward()
    assert x.grad is not None


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_evaluation_normalises_by_the_running_statistics(
    dtype: torch.dtype, layout: torch.memory_format
) -> None:
    layer = make_layer()
    layer.running_mean.copy_(torch.tensor([0.5, -2.0, 30.0]))
    layer.running_var.copy_(torch.tensor([1e-7, 1.0, 4.0]))
    x = make_input().to(dtype).contiguous(memory_format=layout).requires_grad_()
    ours = layer(x)
    plain = nn.functional.batch_norm(
        x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps
    )
    assert ours.dtype == dtype
    assert ours.is_contiguous(memory_format=layout)
    torch.testing.assert_close(ours, plain)
    leaves = [x, layer.weight, layer.bias]
    weights = torch.arange(float(x.numel())).view_as(x).to(dtype)
    for grad, expected in zip(
        torch.autograd.grad(ours, leaves, weights),
        torch.autograd.grad(plain, leaves, weights),
        strict=True,
    ):
        torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-2)


def test_one_value_a_channel_has_no_statistics() -> None:
    layer = BatchNorm(3)
    with pytest.raises(
        UserError,
        match=r"batch norm has one value per channel, from an input of shape .* and cannot",
    ):
        layer(torch.rand(1, 3, 1, 1))
    with pytest.raises(UserError, match=r"from an input of shape \(1, 3\), and cannot"):
        layer(torch.rand(1, 3))  # as after pooling
    layer.virtual_batch = 2
    with pytest.raises(UserError, match="larger batch_size, fewer processes or larger images"):
        layer(torch.rand(3, 3, 1, 1))
    assert layer.eval()(torch.rand(1, 3, 1, 1)).shape == (1, 3, 1, 1)

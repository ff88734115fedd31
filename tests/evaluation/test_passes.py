"""An image's logits and gradients have the same bits in any company."""

import pytest
import torch
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks import FixedPasses, network_passes, packed_passes
from pyrobust.attacks.network_passes import gradient
from pyrobust.errors import UserError
from pyrobust.evaluation.model_under_test import Subject


@pytest.mark.parametrize("count", [1, 2, 3, 5, 15, 16, 17, 31, 32, 33, 95, 96])
def test_results_do_not_depend_on_other_images(subject: Subject, count: int) -> None:
    logits_fn = FixedPasses(subject.logits_fn, 16)
    x, labels = subject.load(range(96))
    among_all = gradient(logits_fn, x, ops.cross_entropy, labels)
    last = slice(96 - count, 96)
    alone = gradient(logits_fn, x[last], ops.cross_entropy, labels[last])
    assert torch.equal(alone.logits, among_all.logits[last])
    assert torch.equal(alone.grad, among_all.grad[last])


def test_every_pass_has_the_same_size() -> None:
    sizes = []

    def logits_fn(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return x.flatten(1)

    x = torch.rand(21, 1, 2, 2)
    assert torch.equal(FixedPasses(logits_fn, 8)(x), x.flatten(1))
    assert sizes == [8, 8, 8]


def test_filling_receives_no_gradient() -> None:
    x = torch.rand(3, 1, 2, 2, requires_grad=True)
    logits = FixedPasses(lambda images: 2 * images.flatten(1), 8)(x)
    (grad,) = torch.autograd.grad(logits.sum(), x)
    assert torch.equal(grad, torch.full_like(x, 2))


def test_strides_of_a_pass_are_always_the_same() -> None:
    passes = FixedPasses(lambda x: x, 4)
    for x in (
        torch.rand(3, 1, 2, 2),
        torch.rand(4, 2, 2, 1).permute(0, 3, 1, 2),
        torch.rand(9, 1, 2, 2).contiguous(memory_format=torch.channels_last),
    ):
        for images in passes.split_images(x):
            assert images.shape == (4, 1, 2, 2)
            assert images.stride() == (4, 1, 2, 1)


def test_gradients_come_back_in_the_order_of_the_images() -> None:
    x = torch.rand(5, 3, 2, 2)
    passes = FixedPasses(lambda images: images.flatten(1), 4)
    result = gradient(passes, x, ops.cross_entropy, torch.zeros(5, dtype=torch.int64))
    assert result.grad.is_contiguous()
    assert torch.equal(result.logits, x.flatten(1))


@pytest.mark.parametrize("count", [1, 15, 16, 17, 48, 63, 64, 65, 95])
def test_packed_passes_give_the_bits_of_whole_ones(subject: Subject, count: int) -> None:
    x, labels = subject.load(range(96))
    packed = packed_passes(subject.logits_fn, 64, x)
    whole = gradient(FixedPasses(subject.logits_fn, 64), x, ops.cross_entropy, labels)
    ours = gradient(packed, x[:count], ops.cross_entropy, labels[:count])
    assert torch.equal(ours.logits, whole.logits[:count])
    assert torch.equal(ours.grad, whole.grad[:count])


@pytest.mark.parametrize(("granule", "last"), [(1, 8), (8, 8), (16, 16)])
def test_the_last_pass_is_filled_up_to_eight_or_sixteen_where_bits_allow(
    granule: int, last: int
) -> None:
    sizes = []

    def logits_fn(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return x.flatten(1) * (1 + (len(x) % granule) * 1e-6)

    packed = packed_passes(logits_fn, 64, torch.rand(10, 1, 2, 2))
    sizes.clear()
    packed(torch.rand(70, 1, 2, 2))
    assert sizes == [64, last]


def test_every_pass_is_filled_up_where_bits_differ() -> None:
    def logits_fn(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) * (1 + len(x) * 1e-6)

    assert packed_passes(logits_fn, 64, torch.rand(10, 1, 2, 2)) == FixedPasses(logits_fn, 64)


# A stand-in for a GPU: a pass takes 1 byte an image of a memory of `free` bytes.
def on_a_gpu(monkeypatch: pytest.MonkeyPatch, pass_size: int, free: float) -> None:
    monkeypatch.setattr(
        network_passes, "_with_memory", lambda call, device: (call(), pass_size, free)
    )


@pytest.mark.parametrize(
    ("most", "free", "size"),
    [(256, 1e9, 256), (255, 1e9, 128), (None, 1e9, 32), (256, 4 * 128, 128), (256, 100, 32)],
)
def test_passes_grow_on_a_gpu_to_the_batch_or_a_quarter_of_the_memory(
    most: int | None, free: float, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_gpu(monkeypatch, 32, free)
    passes = packed_passes(lambda x: x.flatten(1), 32, torch.rand(40, 1, 2, 2), most)
    assert (passes.pass_size, passes.granule) == (size, 16)


def test_passes_grow_no_further_than_their_bits_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def logits_fn(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) * (1 + (len(x) > 100) * 1e-6)

    on_a_gpu(monkeypatch, 32, 1e9)
    x = torch.rand(300, 1, 2, 2)
    passes = packed_passes(logits_fn, 32, x, 256)
    assert passes.pass_size == 64
    assert torch.equal(passes(x), FixedPasses(logits_fn, 32)(x))


def test_passes_do_not_grow_on_a_cpu() -> None:
    assert packed_passes(lambda x: x.flatten(1), 32, torch.rand(9, 1, 2, 2), 256).pass_size == 32


def test_a_network_that_writes_over_what_its_gradient_needs_is_refused() -> None:
    def writes_over(x: Tensor) -> Tensor:
        values = x.flatten(1).sigmoid()
        values += 1
        return values

    x = torch.rand(4, 1, 2, 2)
    with pytest.raises(UserError, match="has no gradient, because a step writes over values"):
        gradient(writes_over, x, ops.margin, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(UserError, match="set inplace=False"):
        packed_passes(writes_over, 32, x)

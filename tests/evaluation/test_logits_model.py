"""Any network crosses one border: pixels in [0, 1] go in, float32 logits come out."""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from pyrobust.errors import UserError
from pyrobust.evaluation.logits_model import LogitsModel
from pyrobust.evaluation.model_sources import ModelSource, open_model

IMAGE = torch.full((1, 1, 4, 4), 0.5)
X = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    """A linear classifier of 16 pixels into 4 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 4)
        with torch.no_grad():
            values = torch.linspace(-1, 1, 64).view(4, 16)
            self.linear.weight.copy_(values.sin() * 3)
            self.linear.bias.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))

    def forward(self, x: Tensor) -> Any:
        return self.linear(x.flatten(1))


class Named(NamedTuple):
    logits: Tensor
    features: Tensor


@dataclasses.dataclass
class Fields:
    loss: None
    logits: Tensor


class Object:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


def answering(answer: Callable[[Tensor, Tensor], Any]) -> nn.Module:
    """Return the plain network with `answer(logits, x)` in place of its logits."""

    class Answering(Plain):
        def forward(self, x: Tensor) -> Any:
            return answer(super().forward(x), x)

    return Answering()


ANSWERS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tuple": lambda logits, x: (logits, x.flatten(1)),
    "tuple, logits last": lambda logits, x: (x.flatten(1), logits),
    "list in a tuple": lambda logits, x: (None, [logits]),
    "named tuple": lambda logits, x: Named(logits, logits * 2),
    "dictionary": lambda logits, x: {"features": x.flatten(1), "logits": logits},
    "other name": lambda logits, x: collections.OrderedDict(out=logits, loss=logits.sum()),
    "two alike": lambda logits, x: {"probabilities": logits.softmax(1), "logits": logits},
    "dataclass": lambda logits, x: Fields(None, logits),
    "object": lambda logits, x: Object(logits),
    "pooled map": lambda logits, x: logits[:, :, None, None],
    "squeezed": lambda logits, x: logits.squeeze(),
    "pairs of images": lambda logits, x: (logits, x.flatten(1) @ x.flatten(1).T),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_logits_are_found_in_any_answer(name: str) -> None:
    model = LogitsModel(answering(ANSWERS[name]), "it", IMAGE, 4)
    for count in (1, 4, 6):
        torch.testing.assert_close(model(X[:count]), Plain()(X[:count]), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["named tuple", "dictionary", "pooled map", "list in a tuple"])
def test_a_network_says_how_many_classes_it_has(name: str) -> None:
    assert LogitsModel(answering(ANSWERS[name]), "it", IMAGE, None).num_classes == 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_logits_are_float32_and_gradients_reach_the_pixels(dtype: torch.dtype) -> None:
    model = LogitsModel(Plain().to(dtype), "it", IMAGE, 4)
    x = X.clone().requires_grad_()
    logits = model(x)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, Plain()(X), rtol=0.03, atol=0.03)
    (grad,) = torch.autograd.grad(logits.sum(), x)
    assert grad.dtype == torch.float32 and grad.abs().min() > 0


def test_a_network_that_writes_into_its_input_leaves_the_images_alone() -> None:
    class InPlace(Plain):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x.sub_(0.5))

    model, x = LogitsModel(InPlace(), "it", IMAGE, 4), X.clone()
    torch.testing.assert_close(model(x), Plain()(X - 0.5))
    assert torch.equal(x, X)
    leaf = X.clone().requires_grad_()
    torch.autograd.grad(model(leaf).sum(), leaf)


def fails(error: BaseException) -> Callable[[Tensor, Tensor], Any]:
    def answer(logits: Tensor, x: Tensor) -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            fails(KeyError("mask")),
            r"fails on 3 images of shape \(1, 4, 4\) with KeyError in line [0-9]+ of .*: 'm",
        ),
        (fails(TypeError("an argument\nis missing")), "with TypeError in .*: is missing"),
        (fails(NotImplementedError()), "with NotImplementedError"),
        (
            lambda logits, x: None,
            "it returns a NoneType for 3 images, but the data set has 4 classes; expected",
        ),
        (fails(SystemExit(3)), "with SystemExit in .*: 3"),
        (lambda logits, x: logits.to_sparse(), "it returns a Tensor for 3 images"),
        (lambda logits, x: logits.to("meta"), "it returns a Tensor for 3 images"),
        (
            lambda logits, x: torch.nested.nested_tensor(list(logits)),
            "it returns a Tensor for 3 images",
        ),
        (
            lambda logits, x: logits.argmax(1),
            r"it returns shape \(3,\) of torch.int64 for 3 images, but the data set has",
        ),
        (lambda logits, x: logits.argsort(1), r"expected floating-point logits of shape \(3, 4\)"),
        (lambda logits, x: (logits, logits + 1), "several tensors .* that may be logits"),
        (
            lambda logits, x: {"logits": logits[:, :2]},
            r"it returns shape \(3, 2\) for 3 images, but the data set has 4 classes",
        ),
    ],
)
def test_a_network_without_logits_is_one_sentence(
    answer: Callable[[Tensor, Tensor], Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        LogitsModel(answering(answer), "it", IMAGE, 4)


def test_a_network_that_fails_later_is_one_sentence_and_lack_of_memory_is_not() -> None:
    def late(error: Exception) -> nn.Module:
        return answering(lambda logits, x: logits if len(x) == 3 else fails(error)(logits, x))

    model = LogitsModel(late(ValueError("odd")), "it", IMAGE, 4)
    with pytest.raises(UserError, match=r"it fails on 6 images .* with ValueError in line .*: odd"):
        model(X)
    model = LogitsModel(late(torch.OutOfMemoryError("out of memory")), "it", IMAGE, 4)
    with pytest.raises(torch.OutOfMemoryError):
        model(X)


def test_a_module_of_the_caller_is_left_as_it_is() -> None:
    module = nn.Sequential(nn.Dropout(0.5), Plain()).train()
    model = open_model(ModelSource(module, mean=(0.5,), std=(2.0,)), IMAGE, None, None)
    assert (model.num_classes, model.training, model.network.training) == (4, False, False)
    assert module.training and all(p.requires_grad for p in module.parameters())
    torch.testing.assert_close(model(X), Plain()((X - 0.5) / 2))

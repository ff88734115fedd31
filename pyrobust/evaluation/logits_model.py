"""Any network as pixels in [0, 1] to float32 logits: the border that every model crosses.

Inside it, attacks and checks rely on one contract; outside, a network may compute in another type,
answer with a tuple or a dictionary, drop a batch dimension of one, change its input in place, or
raise any error.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pyrobust.errors import OwnCodeError, UserError, lacks_memory
from pyrobust.models.spec import Normalization
from pyrobust.own_code import words_of

# Field of a structured answer that holds the logits, as in the transformers library.
_LOGITS = "logits"

# Where a tensor lies in a structured answer: keys, indices and names of fields.
Path = tuple[Any, ...]


class LogitsModel(nn.Module):
    """A network in evaluation mode, tried on its first images.

    Attributes:
        num_classes: K.

    Args:
        network: on the device of `image`.
        name: what the user calls it, for messages.
        image: (1, C, H, W) in [0, 1].
        num_classes: that the images have; None takes that of the network.
        normalization: the network takes (pixels - mean) / std; None where it takes pixels.

    Raises:
        UserError: the network fails on images of this shape, or its answer holds no logits, or
            logits of another number of classes.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        name: str,
        image: Tensor,
        num_classes: int | None,
        normalization: Normalization | None = None,
    ) -> None:
        super().__init__()
        self.training = False  # an exported network has no `eval`
        self.network = network
        self._name = name
        self._dtype = _floating_type(network)
        self._normalized = normalization is not None
        mean, std = normalization or ((0.0,), (1.0,))
        self.register_buffer("mean", image.new_tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", image.new_tensor(std).view(-1, 1, 1))
        # Batch sizes that are unlikely in an export, and different from the number of classes.
        count = 3 if num_classes != 3 else 5
        with torch.no_grad():
            answer = self._answer(image.expand(count, -1, -1, -1))
        self._path, self.num_classes = _locate(answer, count, num_classes, name)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [0, 1] to logits (N, K) in float32.

        Raises:
            UserError: the network fails; states its error.
        """
        logits = _at(self._answer(x), self._path)
        if not (isinstance(logits, Tensor) and _is_plain(logits)) or not (
            _classes(logits, len(x)) == self.num_classes
            or (len(x) == 1 and logits.numel() == self.num_classes)
        ):
            found = _shape(logits)
            raise UserError(
                f"{self._name} returns {found} for {len(x)} images, but returned "
                f"{(len(x), self.num_classes)} for the first ones"
            )
        # A network that squeezes gives (K,) for one image.
        return logits.reshape(len(x), self.num_classes).float()

    def _answer(self, x: Tensor) -> Any:
        pixels = (x - self.mean) / self.std if self._normalized else x
        try:
            # A copy: a network may write into its input, which belongs to the attack.
            return self.network(pixels.to(self._dtype, copy=True))
        except (Exception, SystemExit) as error:  # the code is the user's
            if lacks_memory(error):
                raise
            raise OwnCodeError(
                f"{self._name} fails on {len(x)} images of shape {tuple(x.shape[1:])} with "
                f"{words_of(error)}; evaluate it on its own kind of images, and export models "
                "with a dynamic batch size (torch.export.Dim)"
            ) from error


def _floating_type(network: nn.Module) -> torch.dtype:
    """Return the type of the first weights that are not integers; float32 where there are none."""
    tensors = (*network.parameters(), *network.buffers())
    return next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)


def _locate(answer: Any, count: int, num_classes: int | None, name: str) -> tuple[Path, int]:
    """Return where the logits lie in the answer to `count` images, and how many classes they have.

    That is the field `logits`, else the only tensor with a row of numbers for each image.
    """
    leaves = dict(_tensors(answer))
    named = {path: leaf for path, leaf in leaves.items() if path and path[-1] == _LOGITS}
    fitting = {
        path: classes
        for path, leaf in (named or leaves).items()
        if (classes := _classes(leaf, count)) is not None and num_classes in (None, classes)
    }
    if len(fitting) == 1:
        return next(iter(fitting.items()))
    found = ", ".join(_shape(leaf) for leaf in leaves.values()) or f"a {type(answer).__name__}"
    if fitting:
        raise UserError(
            f"{name} returns several tensors ({found}) for {count} images that may be logits; "
            f"return only the logits, or name their field '{_LOGITS}'"
        )
    wanted = "" if num_classes is None else f", but the data set has {num_classes} classes"
    raise UserError(
        f"{name} returns {found} for {count} images{wanted}; expected floating-point logits of "
        f"shape ({count}, {num_classes or 'K'})"
    )


def _tensors(answer: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Yield every tensor in tuples, lists, dictionaries and objects with fields."""
    if isinstance(answer, Tensor):
        if _is_plain(answer):
            yield path, answer
    elif isinstance(answer, Mapping):
        for key, value in answer.items():
            yield from _tensors(value, (*path, key))
    elif isinstance(answer, list | tuple):
        names = getattr(answer, "_fields", range(len(answer)))
        for step, value in zip(names, answer, strict=True):
            yield from _tensors(value, (*path, step))
    elif dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        for field in dataclasses.fields(answer):
            yield from _tensors(getattr(answer, field.name), (*path, field.name))
    elif isinstance(getattr(answer, _LOGITS, None), Tensor):
        yield (*path, _LOGITS), answer.logits


def _at(answer: Any, path: Path) -> Any:
    for step in path:
        try:
            is_item = isinstance(answer, Mapping) or isinstance(step, int)
            answer = answer[step] if is_item else getattr(answer, step)
        except (LookupError, AttributeError, TypeError):
            return None
    return answer


def _classes(tensor: Tensor, count: int) -> int | None:
    """Return K of a tensor (count, K) or (count, K, 1, ...) of floating-point numbers."""
    sizes = [size for size in tensor.shape[1:] if size != 1]
    if not tensor.is_floating_point() or tensor.ndim < 2 or len(tensor) != count or len(sizes) != 1:
        return None
    return sizes[0]


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers in rows: sparse, nested and meta tensors do not."""
    return tensor.layout == torch.strided and not (tensor.is_nested or tensor.is_meta)


def _shape(value: Any) -> str:
    if not (isinstance(value, Tensor) and _is_plain(value)):
        return type(value).__name__
    kind = "" if value.is_floating_point() else f" of {value.dtype}"
    return f"shape {tuple(value.shape)}{kind}"

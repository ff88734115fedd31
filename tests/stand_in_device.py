"""A device that exists in name only: its tensors lie on the host and say "meta".

Every operator runs on the host, with the same bits, after the check that real hardware makes: its
tensors all lie on the device, but for scalars. What the host reads is counted, since a GPU would
wait for it.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from pyrobust.training import loader

DEVICE = torch.device("meta")

# Operators that copy between devices, or take no notice of a tensor's place.
_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
# Operators whose result the host waits for.
_READS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}


class OnDevice(Tensor):
    """A tensor on the device; `held` is where its values lie."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnDevice":
        made: OnDevice = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=DEVICE,
            requires_grad=False,
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.held})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return run(func, args, kwargs or {})


class MixedDevicesError(AssertionError):
    """Tensors of the host and of the device meet in one operator."""


reads: Counter[str] = Counter()
"""Reads by the host, by operator."""


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator on the held tensors and return its results on the device they belong to."""
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    here = [value for value in tensors if isinstance(value, OnDevice)]
    elsewhere = [v for v in tensors if not isinstance(v, OnDevice) and v.dim() > 0]
    if here and elsewhere and func not in _COPIES:
        raise MixedDevicesError(f"{func} meets tensors of {DEVICE} and of the host")
    target = kwargs.get("device")
    if func in _READS and here:
        reads[str(func)] += 1
    if func is torch.ops.aten._to_copy.default and here and target == torch.device("cpu"):
        reads["copy to the host"] += 1
    if target is not None:
        goes, kwargs = target.type == DEVICE.type, {**kwargs, "device": torch.device("cpu")}
    elif func is torch.ops.aten.copy_.default:
        goes = isinstance(args[0], OnDevice)
    else:
        goes = bool(here)
    held = tree_map_only(OnDevice, lambda value: value.held, (args, kwargs))
    result = func(*held[0], **held[1])
    if not goes:
        return result
    owners = {id(value.held): value for value in here}

    def wrapped(value: Tensor) -> Tensor:
        # What an operator changed in place stays the same tensor.
        return owners[id(value)] if id(value) in owners else OnDevice(value)

    return tree_map_only(Tensor, wrapped, result)


class _Creations(TorchDispatchMode):
    """Sends to the device what is created there, and what is copied there from the host."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return run(func, args, kwargs or {})


class _Conversions(TorchFunctionMode):
    """Lets torch.tensor, new_tensor and tolist, which no dispatch mode sees, know the device."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            del kwargs["device"]
            return func(*args, **kwargs).to(DEVICE)
        if func is Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].cpu().tolist()
        if func is Tensor.new_tensor and isinstance(args[0], OnDevice):
            kwargs = {"dtype": args[0].dtype, **kwargs}
            return torch.tensor(*args[1:], **kwargs).to(DEVICE)
        return func(*args, **kwargs)


class _AtOnce:
    """An executor that works in the calling thread: modes belong to a thread."""

    def __init__(self, max_workers: int) -> None:
        """Need no worker."""

    def submit(self, work: Any, *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*args))
        return done


@contextmanager
def stand_in_device() -> Iterator[torch.device]:
    """Yield the device; what is created on it inside the block lies on it."""
    reads.clear()
    with pytest.MonkeyPatch.context() as patch, _Conversions(), _Creations():
        # The device has no reduced precision.
        patch.setattr(torch, "autocast", lambda kind, dtype=None, enabled=True: nullcontext())
        patch.setattr(loader, "ThreadPoolExecutor", _AtOnce)
        yield DEVICE

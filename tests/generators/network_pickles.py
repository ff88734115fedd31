"""Pickles as the public StyleGAN2-ADA code writes them, for modules of ours."""

import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn


class EasyDict(dict[str, Any]):
    """Stands for dnnlib.util.EasyDict."""


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
    raise AssertionError("the code of the pickle was run")


class Persistent:
    """Pickles a module as an object whose class comes along as source."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __reduce__(self) -> tuple[Any, ...]:
        children = ((name, Persistent(child)) for name, child in self._module._modules.items())
        meta = EasyDict(
            type="class",
            version=6,
            module_src="raise AssertionError('the source of the pickle was run')",
            class_name=type(self._module).__name__,
            state={**self._module.__dict__, "_modules": OrderedDict(children)},
        )
        return _reconstruct_persistent_obj, (meta,)


@contextmanager
def _modules_of_the_public_code() -> Iterator[None]:
    """Let pickles name the modules that the classes have in the public code."""
    homes = {"dnnlib.util": EasyDict, "torch_utils.persistence": _reconstruct_persistent_obj}
    before = {thing: thing.__module__ for thing in homes.values()}
    for home, thing in homes.items():
        thing.__module__ = home
        for name in (home.split(".")[0], home):
            sys.modules[name] = types.ModuleType(name)
        setattr(sys.modules[home], thing.__name__, thing)
    try:
        yield
    finally:
        for home, thing in homes.items():
            thing.__module__ = before[thing]
            for name in (home.split(".")[0], home):
                sys.modules.pop(name, None)


def write_network_pickle(path: Path, protocol: int = 3, **contents: Any) -> Path:
    """Write modules by name; other values as they are."""
    wrapped = {
        name: Persistent(value) if isinstance(value, nn.Module) else value
        for name, value in contents.items()
    }
    with _modules_of_the_public_code():
        path.write_bytes(pickle.dumps(wrapped, protocol=protocol))
    return path

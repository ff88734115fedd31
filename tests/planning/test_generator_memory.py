"""The counted memory of generators is what training and sampling take, tensor by tensor."""

import weakref
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyrobust.config import parse_settings
from pyrobust.config.data import DatasetSettings
from pyrobust.config.generator_types import TYPES
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.data.prepare import make_dataset
from pyrobust.generators.base import GeneratorSpec
from pyrobust.generators.network_training import AVERAGE
from pyrobust.generators.registry import GENERATORS
from pyrobust.generators.trained import TrainedGenerator
from pyrobust.planning.memory import SAMPLED_TOGETHER
from tests.generators.fits import fit_of


class Saved:
    """A tensor that autograd keeps for a backward pass."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class KeptMemory(saved_tensors_hooks):
    """Counts the bytes that autograd keeps at a time for backward passes; `peak` is the most."""

    def __init__(self) -> None:
        super().__init__(self._keep, lambda saved: saved.tensor)
        self.peak = 0
        self._kept: dict[int, list[int]] = {}  # storage -> its bytes, once for each use

    def _keep(self, tensor: Tensor) -> Saved:
        storage, saved = tensor.untyped_storage(), Saved(tensor)
        self._kept.setdefault(storage._cdata, []).append(storage.nbytes())
        weakref.finalize(saved, self._kept[storage._cdata].pop)
        self.peak = max(self.peak, sum(uses[-1] for uses in self._kept.values() if uses))
        return saved


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of tensors that operators return, while they live; `peak` is the most."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                if storage._cdata not in self._live:
                    self._live[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self._live.pop, storage._cdata)
        self.peak = max(self.peak, sum(self._live.values()))
        return result


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("digits")
    make_dataset("digits", folder, folder, DatasetSettings(validation_size=10, test_size=10))
    return Dataset.open(folder)


def kept_by_training(settings: GeneratorSettings, digits: Dataset, folder: Path) -> int:
    training = GENERATORS[settings.type].start_training(fit_of(digits, settings, folder))
    memory = KeptMemory()
    with memory:
        training.step(0)
    return memory.peak


def held_by_sampling(settings: GeneratorSettings, digits: Dataset, count: int) -> int:
    model = GENERATORS[settings.type]
    assert issubclass(model, TrainedGenerator)
    spec = GeneratorSpec(settings, "digits", "", digits.class_names, digits.image_shape)
    weights = model.build_network(spec).state_dict()
    generator = model(spec, {f"{AVERAGE}{name}": value for name, value in weights.items()})
    generator.block_size = count
    with PeakMemory() as memory:
        generator.sample_block(0, 0)
    return memory.peak


@pytest.mark.parametrize("kind", [name for name, kind in TYPES.items() if kind.is_trained])
def test_training_and_sampling_take_what_is_counted(
    kind: str, digits: Dataset, tmp_path: Path
) -> None:
    counted = TYPES[kind].work["tiny"]

    def settings(**changes: object) -> GeneratorSettings:
        return parse_settings(GeneratorSettings, {"type": kind, "preset": "tiny", **changes})

    few, more = (kept_by_training(settings(batch_size=n), digits, tmp_path) for n in (2, 4))
    assert (more - few) / 2 == pytest.approx(counted.kept_bytes, rel=0.02)
    steps = {"sampling_steps": 2} if settings().sampling_steps else {}
    few, more = (held_by_sampling(settings(**steps), digits, n) for n in (4, 8))
    assert (more - few) / 4 == pytest.approx(counted.sampled_bytes, rel=0.02)


def test_generators_sample_as_many_at_a_time_as_counted() -> None:
    assert TrainedGenerator.block_size == SAMPLED_TOGETHER

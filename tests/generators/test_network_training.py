"""What all trainings share: batches that no number of processes changes, and exact float32."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pyrobust.config import parse_settings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.errors import UserError
from pyrobust.generators.base import Fit
from pyrobust.generators.network_training import NetworkTraining
from pyrobust.generators.registry import GENERATORS
from pyrobust.generators.trained import TrainedGenerator
from pyrobust.training.data_parallel import Processes
from tests.generators.fits import RUNTIME, fit_of

SMALL = {
    "biggan": {"width": 8, "latent_size": 4, "discriminator_steps": 3},
    "ddpm": {},
    "edm": {},
    "stylegan2": {"width": 8, "latent_size": 4},
    "vdvae": {"width": 8, "latent_size": 2},
}


def settings_of(kind: str, **changes: object) -> GeneratorSettings:
    small = {"batch_size": 8, "training_steps": 7, **SMALL[kind], **changes}
    return parse_settings(GeneratorSettings, {"type": kind, "preset": "tiny", **small})


def training_of(
    kind: str, dataset: Dataset, folder: Path, batch_size: int, rank: int = 0, world_size: int = 1
) -> NetworkTraining:
    processes = Processes(torch.device("cpu"), rank, world_size)
    settings = settings_of(kind, batch_size=batch_size)
    model = GENERATORS[kind]
    assert issubclass(model, TrainedGenerator)
    return model.start_training(Fit(dataset, settings, folder, RUNTIME, processes))


def slices(training: NetworkTraining, step: int) -> list[dict[str, Tensor]]:
    """Return what a process sees of each batch of an update, and the noise that it draws."""
    found = []
    for number in training.batch_numbers(step):
        batch = training.loader.batch(number)
        normal = training.normal(batch.positions, number, (5,), stream=1)
        uniform = training.uniform(batch.positions, number, (5,), stream=2)
        found.append({"x": batch.x, "labels": batch.labels, "normal": normal, "uniform": uniform})
    return found


@pytest.mark.parametrize(
    ("kind", "world_sizes"),
    [("biggan", range(1, 9)), ("ddpm", [3]), ("edm", [8]), ("stylegan2", [2, 5]), ("vdvae", [7])],
)
def test_batches_and_noise_do_not_depend_on_the_number_of_processes(
    kind: str, world_sizes: Iterable[int], bars: Dataset, tmp_path: Path
) -> None:
    for world_size in world_sizes:
        size = 2 * world_size
        whole = slices(training_of(kind, bars, tmp_path, size), step=3)
        assert len(whole) == (3 if kind == "biggan" else 1)
        shared = [
            slices(training_of(kind, bars, tmp_path, size, rank, world_size), step=3)
            for rank in range(world_size)
        ]
        for number, batch in enumerate(whole):
            for name, value in batch.items():
                assert torch.cat([mine[number][name] for mine in shared]).equal(value), name
                assert all(len(mine[number][name]) == 2 for mine in shared)


def test_batches_that_processes_cannot_share_are_refused_with_the_numbers_that_fit(
    bars: Dataset, tmp_path: Path
) -> None:
    numbers = "--processes 1 or 2 or 5 or 10 or 25 or 50, or --batch-size 48 or 56"
    with pytest.raises(
        UserError, match=f"a batch of 50 images cannot be divided .* 8 processes; use {numbers}"
    ):
        training_of("biggan", bars, tmp_path, 50, world_size=8)


@pytest.mark.parametrize("kind", SMALL)
def test_float32_is_not_rounded_to_tensor_float_32(
    kind: str, bars: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = GENERATORS[kind].start_training(fit_of(bars, settings_of(kind), tmp_path))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    seen = set()

    def noting(module: torch.nn.Module, *_: object) -> None:
        seen.add(("forward" if torch.is_grad_enabled() else "", torch.backends.cudnn.allow_tf32))

    for network in training.parts.values():
        for parameter in getattr(network, "network", torch.nn.Module()).parameters():
            if parameter.requires_grad:
                parameter.register_hook(
                    lambda _: seen.add(("backward", torch.backends.cudnn.allow_tf32))
                )
    handle = torch.nn.modules.module.register_module_forward_hook(noting)
    training.step(0)
    handle.remove()
    assert seen >= {("forward", False), ("backward", False)}
    assert not any(allowed for _, allowed in seen) and torch.backends.cudnn.allow_tf32


# Operators whose result on CUDA differs from run to run, and which --deterministic refuses (from
# the documentation of torch.use_deterministic_algorithms).
NOT_DETERMINISTIC = {
    "adaptive_max_pool2d_backward",
    "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward",
    "avg_pool3d_backward",
    "bincount",
    "cumsum",
    "_embedding_bag_backward",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward",
    "grid_sampler_2d_backward",
    "grid_sampler_3d_backward",
    "histc",
    "kthvalue",
    "max_pool3d_with_indices_backward",
    "max_unpool2d",
    "max_unpool3d",
    "median",
    "nll_loss2d_forward",
    "nll_loss2d_backward",
    "put_",
    "reflection_pad1d_backward",
    "reflection_pad2d_backward",
    "reflection_pad3d_backward",
    "replication_pad1d_backward",
    "replication_pad2d_backward",
    "replication_pad3d_backward",
    "scatter_reduce",
    "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward",
    "upsample_linear1d_backward",
    "upsample_trilinear3d_backward",
}


class Operators(TorchDispatchMode):
    """Notes the names of all operators."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", SMALL)
def test_every_operator_of_an_update_is_deterministic_on_cuda(
    kind: str, bars: Dataset, tmp_path: Path
) -> None:
    changes = {"stylegan2": {"augment_target": 0.6, "augment_images": 8}}.get(kind, {})
    settings = settings_of(kind, **changes)
    training = GENERATORS[kind].start_training(fit_of(bars, settings, tmp_path))
    with Operators() as operators:
        training.step(0)
        training.step(16)
    assert "convolution_backward" in operators.names
    assert not operators.names & NOT_DETERMINISTIC

"""Generators whose networks are trained step by step: fitting, sampling and saving.

A type adds its networks, their training (`network_training.py`) and its sampler.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from pyrobust.data.store import ImageShape
from pyrobust.errors import UserError
from pyrobust.generators.base import (
    GENERATOR,
    MADE_BY,
    BlockGenerator,
    Fit,
    GeneratorSpec,
    Samples,
    read_generator_facts,
)
from pyrobust.generators.network_training import (
    AVERAGE,
    Measure,
    NetworkTraining,
    run_training,
)
from pyrobust.generators.pretrained import read_published
from pyrobust.generators.weights import WEIGHTS, map_tensors, read_facts, write_tensors
from pyrobust.models.files import load_strictly
from pyrobust.ops.precision import exact_kernels, passes_in
from pyrobust.training.loop import Metrics


def square_side(image_shape: ImageShape) -> int:
    """Return the side of square images of 8, 16, 32, … pixels, which GANs and the VDVAE require.

    Raises:
        UserError: images have another size.
    """
    height, width, _ = image_shape
    if height != width or height < 8 or height & (height - 1):
        raise UserError(
            f"images are {height}×{width}, but this generator requires 8×8, 16×16, 32×32 or "
            "another power of two; make the data set again with --image-size"
        )
    return height


# Key of the step and FID of the weights that were kept.
_KEPT = "kept"


class TrainedGenerator(BlockGenerator):
    """A generator that samples from a network with averaged weights.

    A type defines the network, its training and its sampler. Sample i of a conditional generator is
    of class i mod K.

    Args:
        weights: `average.<name>` and, after training, `live.<name>`.
        facts: JSON values that are stored with the weights.
    """

    parallel: ClassVar[bool] = True
    block_size = 250

    def __init__(
        self,
        spec: GeneratorSpec,
        weights: Mapping[str, Tensor],
        sha256: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(spec, sha256)
        self.weights = weights
        self.facts = dict(facts or self.network_facts(spec))
        self._network: nn.Module | None = None

    @classmethod
    def network_facts(cls, spec: GeneratorSpec) -> dict[str, Any]:
        """Return what rebuilding the network requires besides the settings."""
        return {}

    @classmethod
    @abstractmethod
    def build_network(cls, spec: GeneratorSpec) -> nn.Module:
        """Return the sampling network, with initial weights from torch's random generator."""

    @classmethod
    @abstractmethod
    def training(cls, fit: Fit, network: nn.Module) -> NetworkTraining:
        """Return the training of `network`, which is on the device already."""

    @abstractmethod
    def draw(self, ids: Tensor, classes: Tensor | None, seed: int) -> Tensor:
        """Return images (N, C, H, W) uint8, each a function of (weights, seed, id, class).

        Args:
            ids: (N,) int64 on the device.
            classes: (N,) int64 to condition on; None for an unconditional generator.
        """

    @classmethod
    def fit(cls, fit: Fit) -> Self:
        """Train on the training split, or load the weights from `path`.

        Raises:
            UserError: the loss is not finite or diverges, or `path` does not contain such weights
                or is the output folder.
            Interrupted: a scheduler asked the run to stop; the state is saved.
        """
        if fit.settings.path is not None:
            return cls.adopt(fit, _pretrained(Path(fit.settings.path), fit.folder))
        fit.runtime.prepare()
        training = cls.start_training(fit)
        if fit.settings.keep_best is not None:
            training.measure = cls._fid_measure(fit, training)
        run = run_training(training)
        generator = cls(fit.spec, training.weights())
        generator.run = run
        if fit.fid is not None:
            best = run.best("fid", "lowest")
            generator.facts[_KEPT] = {**best, "features": fit.fid.description}
        return generator

    @classmethod
    def _fid_measure(cls, fit: Fit, training: NetworkTraining) -> Measure:
        """Return the FID of samples from the averaged weights, computed by the first process."""
        if fit.fid is None:
            raise ValueError("keep_best needs a measure of the FID")
        fid, count, processes = fit.fid, fit.settings.fid_samples, fit.processes

        def measure(network: nn.Module, stopping: Callable[[], bool]) -> Metrics | None:
            found = None
            if processes.is_main:
                weights = {f"{AVERAGE}{k}": v for k, v in training.averaged_weights().items()}
                generator = cls(fit.spec, weights).to(str(processes.device))
                firsts = range(0, count, generator.block_size)
                blocks = (
                    generator.sample(
                        np.arange(first, min(first + generator.block_size, count)),
                        fit.settings.seed,
                    ).images
                    for first in firsts
                )
                found = fid(blocks, stopping)
            # The others wait for the first process; NaN if the measurement was stopped.
            value = torch.zeros((), dtype=torch.float64, device=processes.device)
            if processes.is_main:
                value += math.nan if found is None else found
            shared = float(processes.sum(value))
            return None if math.isnan(shared) else {"fid": shared}

        return measure

    @classmethod
    def start_training(cls, fit: Fit) -> NetworkTraining:
        """Return the training with initial weights by the seed, the same on every device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(fit.settings.seed)
            network = cls.build_network(fit.spec)
        return cls.training(fit, network.to(fit.processes.device))

    @classmethod
    def adopt(cls, fit: Fit, folder: Path) -> Self:
        """Load the weights of another generator of the same type, for example to sample with other
        settings, or of a file of published weights.

        Raises:
            UserError: there are none, or they are of another type, for other images, or for another
                network than that of the settings.
        """
        if folder.is_file():
            with torch.random.fork_rng(devices=[]):
                network = cls.build_network(fit.spec)
            state = read_published(folder, fit.settings.type, network)
            return cls(fit.spec, {f"{AVERAGE}{name}": value for name, value in state.items()})
        theirs = read_generator_facts(folder)
        for key, value, ours in (
            ("type", theirs["settings"]["type"], fit.settings.type),
            ("image shape", tuple(theirs["image_shape"]), fit.spec.image_shape),
            ("classes", tuple(theirs["class_names"]), fit.spec.class_names),
        ):
            if value != ours:
                raise UserError(
                    f"the generator in {folder} has {key} {value}, but {ours} is required"
                )
        other = cls.load(folder)
        generator = cls(fit.spec, other.weights, None, other.facts)
        if generator.conditional != other.conditional:
            raise UserError(
                f"the generator in {folder} has conditional = {other.conditional}; use "
                f"--{'' if other.conditional else 'no-'}conditional"
            )
        try:
            generator.fill_network(str(folder))
        except UserError as error:
            raise UserError(
                f"{error}; use the network settings in {folder / GENERATOR}, such as --preset"
            ) from error
        return generator

    def is_up_to_date(self) -> bool:
        """Return whether the weights were trained here; pretrained weights are loaded again."""
        return self.spec.settings.path is None

    def provenance(self) -> dict[str, Any]:
        """Return everything that determines the images: weights, seed, and sampling settings."""
        return {**super().provenance(), "sampling": self.spec.settings.sampling()}

    def training_facts(self) -> dict[str, Any]:
        """Return step and FID of the kept weights, with `keep_best`."""
        return {_KEPT: self.facts[_KEPT]} if _KEPT in self.facts else {}

    def make_network(self) -> nn.Module:
        """Return the network that the weights fit."""
        return self.build_network(self.spec)

    def fill_network(self, source: str) -> nn.Module:
        """Return the network with the averaged weights, on the CPU.

        Args:
            source: of the weights, for the message.

        Raises:
            UserError: lists weights that are missing, unexpected or of another shape.
        """
        with torch.random.fork_rng(devices=[]):
            network = self.make_network()
        averaged = {
            name.removeprefix(AVERAGE): value
            for name, value in self.weights.items()
            if name.startswith(AVERAGE)
        }
        load_strictly(network, averaged, source)
        return network

    def to(self, device: str) -> Self:
        """Move the computation of images to `device`; return self."""
        self.device = device
        self._network = None
        return self

    @property
    def network(self) -> nn.Module:
        """The network with the averaged weights, in evaluation mode, on the device."""
        if self._network is None:
            network = self.fill_network(f"the {self.spec.settings.type}'s {WEIGHTS}")
            self._network = network.requires_grad_(False).eval().to(self.device)
        return self._network

    def sample_block(self, block: int, seed: int) -> Samples:
        """Return the images of one block; the classes of a conditional generator alternate."""
        ids = block * self.block_size + np.arange(self.block_size)
        conditions = ids % len(self.spec.class_names) if self.conditional else None
        device = torch.device(self.device)
        classes = None if conditions is None else torch.from_numpy(conditions).to(device)
        with (
            torch.inference_mode(),
            exact_kernels(),
            passes_in(self.spec.settings.precision, device),
        ):
            images = self.draw(torch.from_numpy(ids).to(device), classes, seed)
        return Samples(images.permute(0, 2, 3, 1).cpu().numpy(), conditions)

    def write_weights(self, folder: Path) -> str:
        """Write averaged and live weights, and the facts."""
        arrays = {name: value.contiguous().numpy() for name, value in self.weights.items()}
        return write_tensors(folder / WEIGHTS, arrays, self.facts)

    @classmethod
    def read_weights(cls, folder: Path, spec: GeneratorSpec, sha256: str) -> Self:
        """Read what `write_weights` wrote."""
        arrays = map_tensors(folder / WEIGHTS, sha256, MADE_BY)
        weights = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        return cls(spec, weights, sha256, read_facts(folder / WEIGHTS))


def _pretrained(path: Path, folder: Path) -> Path:
    """Return `path`, which must not be the output folder."""
    if path.resolve() == folder.resolve():
        raise UserError(
            f"path is {path}, which is also the output folder; to change sampler, "
            "sampling_steps or part_size of a generator trained there, omit --path, otherwise "
            "use another --output"
        )
    return path


def to_uint8(x: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8, clipped and rounded."""
    return ((x.float() + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)

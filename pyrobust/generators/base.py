"""The interface of generators: fitted on a data set, sampled by image id, saved as a folder."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from pyrobust.config import parse_settings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.dataset import Dataset
from pyrobust.data.store import ImageShape
from pyrobust.errors import UserError
from pyrobust.files import described_by, read_json, write_json
from pyrobust.imports import source_sha256
from pyrobust.training.data_parallel import Processes
from pyrobust.training.loop import Run
from pyrobust.training.runtime import Runtime

GENERATOR = "generator.json"

# A copy of generator.json. Snakemake removes generator.json, the output of a rule, before it reruns
# the rule; this file still describes the weights in the folder.
FITTED = "fitted.json"

MADE_BY = "pyrobust fit-generator"


@dataclass(frozen=True)
class Samples:
    """Generated images."""

    images: np.ndarray  # (N, H, W, C) uint8
    conditions: np.ndarray | None  # (N,) int64: the class that each image was conditioned on


@dataclass(frozen=True)
class GeneratorSpec:
    """Everything that defines a generator, except for its weights."""

    settings: GeneratorSettings
    dataset: str
    dataset_sha256: str
    class_names: tuple[str, ...]
    image_shape: ImageShape

    @classmethod
    def of(cls, dataset: Dataset, settings: GeneratorSettings) -> Self:
        """Return the spec of a generator fitted on `dataset`."""
        return cls(settings, dataset.name, dataset.sha256, dataset.class_names, dataset.image_shape)


class FidMeasure(Protocol):
    """The FID of samples against the training images."""

    @property
    def description(self) -> dict[str, Any]:
        """The name and hash of the network that computes the features."""

    def __call__(self, samples: Iterable[np.ndarray], stopping: Callable[[], bool]) -> float | None:
        """Return the FID of blocks of images (N, H, W, C) uint8; None if it was stopped."""


@dataclass(frozen=True)
class Fit:
    """Data, settings and folder of one fit.

    Attributes:
        folder: of the generator. An interrupted fit resumes from `state`, which is removed once
            generator.json is written.
        fid: the FID during training, for `keep_best`.
        own_code: `Generator.own_code` of the type.
    """

    dataset: Dataset
    settings: GeneratorSettings
    folder: Path
    runtime: Runtime
    processes: Processes
    fid: FidMeasure | None = None
    own_code: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def spec(self) -> GeneratorSpec:
        """The spec of the generator."""
        return GeneratorSpec.of(self.dataset, self.settings)

    @property
    def state(self) -> Path:
        """Folder of the state from which an interrupted fit resumes."""
        return self.folder / "state"


class Generator(ABC):
    """A source of images: image i depends only on (weights, seed, i)."""

    parallel: ClassVar[bool] = False
    """Whether several processes can fit one generator together."""

    device: str = "cpu"
    """Device that computes images, as torch names it."""

    count: int | None = None
    """Number of images; None if it is unlimited."""

    block_size: int
    """Images that are computed together: the ids from one multiple of it to the next."""

    run: Run | None = None
    """The training of a type that is trained step by step, after `fit`."""

    def __init__(self, spec: GeneratorSpec, sha256: str | None) -> None:
        self.spec = spec
        self._sha256 = sha256

    @property
    def conditional(self) -> bool:
        """Whether the generator is conditioned on a class."""
        return self.spec.settings.is_conditional

    @classmethod
    @abstractmethod
    def fit(cls, fit: Fit) -> Self:
        """Fit on the training split."""

    @abstractmethod
    def sample(self, ids: np.ndarray, seed: int) -> Samples:
        """Return the images with these ids, in their order."""

    @abstractmethod
    def write_weights(self, folder: Path) -> str:
        """Write the weights and return their hash."""

    @classmethod
    @abstractmethod
    def read_weights(cls, folder: Path, spec: GeneratorSpec, sha256: str) -> Self:
        """Read what `write_weights` wrote.

        Raises:
            UserError: a file is missing or does not match the hash.
        """

    def checked(self, samples: object, count: int) -> Samples:
        """Return the samples that `sample` or `sample_block` returned, if they are images.

        Raises:
            UserError: they are not `count` images of this generator, with classes if it is
                conditional.
        """
        kind = self.spec.settings.type
        if not isinstance(samples, Samples):
            raise UserError(f"{kind} returns a {type(samples).__name__}, expected Samples")
        expected: list[tuple[str, Any, tuple[int, ...], str]] = [
            ("images", samples.images, (count, *self.spec.image_shape), "u1")
        ]
        if self.conditional:
            expected.append(("conditions", samples.conditions, (count,), "i8"))
        for name, values, shape, dtype in expected:
            if not isinstance(values, np.ndarray) or values.dtype != np.dtype(dtype):
                found = getattr(values, "dtype", None) or type(values).__name__
                raise UserError(f"{kind} returns {name} of {found}, expected {np.dtype(dtype)}")
            if values.shape != shape:
                raise UserError(f"{kind} returns {name} of shape {values.shape}, expected {shape}")
        return samples

    def to(self, device: str) -> Self:
        """Move the computation of images to `device`, if the type supports it; return self."""
        return self

    def is_up_to_date(self) -> bool:
        """Return whether files outside the folder that the generator depends on are unchanged."""
        return True

    def training_facts(self) -> dict[str, Any]:
        """Return the entries of generator.json that describe the training."""
        return {}

    def provenance(self) -> dict[str, Any]:
        """Return everything that determines the images, for the manifests of stores."""
        if self._sha256 is None:
            raise ValueError("save the generator before its samples")
        return {
            "generator": self.spec.settings.type,
            "generator_sha256": self._sha256,
            "dataset": self.spec.dataset,
            "seed": self.spec.settings.seed,
            **self.own_code(),
        }

    @classmethod
    def own_code(cls) -> dict[str, str | None]:
        """Return the SHA-256 of the source file of a type of the user's own."""
        is_own = not cls.__module__.startswith(f"{__package__}.")
        return {"own_code": source_sha256(cls)} if is_own else {}

    def save(self, folder: Path) -> None:
        """Write the weights, then generator.json, which does not exist while they change."""
        (folder / GENERATOR).unlink(missing_ok=True)
        self._sha256 = self.write_weights(folder)
        self.describe(folder)

    def describe(self, folder: Path) -> None:
        """Write fitted.json and generator.json next to saved weights."""
        facts = {
            "settings": self.spec.settings.model_dump(mode="json"),
            "dataset": self.spec.dataset,
            "dataset_sha256": self.spec.dataset_sha256,
            "class_names": list(self.spec.class_names),
            "image_shape": list(self.spec.image_shape),
            "conditional": self.conditional,
            "weights_sha256": self._sha256,
            **self.own_code(),
            **self.training_facts(),
        }
        for name in (FITTED, GENERATOR):
            write_json(folder / name, facts)

    @classmethod
    def load(cls, folder: Path, description: str = GENERATOR) -> Self:
        """Open what `save` wrote, and check the hash of the weights.

        Args:
            description: generator.json or fitted.json.

        Raises:
            UserError: a file is missing or not what was written, or the code of a type of the
                user's own has changed since.
        """
        facts = read_generator_facts(folder, description)
        if (code := cls.own_code().get("own_code")) != facts.get("own_code"):
            raise UserError(
                f"the source of {facts['settings']['type']} has SHA-256 {code}, but {folder} was "
                f"fitted by {facts.get('own_code')}; run '{MADE_BY}' again, or restore the file"
            )
        with described_by(folder / description, MADE_BY):
            height, width, channels = map(int, facts["image_shape"])
            spec = GeneratorSpec(
                parse_settings(GeneratorSettings, facts["settings"], folder / description),
                facts["dataset"],
                facts["dataset_sha256"],
                tuple(facts["class_names"]),
                (height, width, channels),
            )
        return cls.read_weights(folder, spec, facts["weights_sha256"])


class BlockGenerator(Generator):
    """A generator that computes images in batches.

    Floating-point results depend on the shape of a batch, so images are always computed in the same
    aligned blocks: block b contains the ids [b · block_size, (b + 1) · block_size), and is computed
    as a whole even if only some of them are requested.
    """

    @abstractmethod
    def sample_block(self, block: int, seed: int) -> Samples:
        """Return the `block_size` images of one block."""

    def sample(self, ids: np.ndarray, seed: int) -> Samples:
        """Return the images with these ids, in their order."""
        blocks, block_of_id = np.unique(ids // self.block_size, return_inverse=True)
        images = np.empty((len(ids), *self.spec.image_shape), np.uint8)
        conditions = np.empty(len(ids), np.int64) if self.conditional else None
        for number, block in enumerate(blocks.tolist()):
            rows = np.flatnonzero(block_of_id == number)
            offsets = ids[rows] - block * self.block_size
            samples = self.checked(self.sample_block(block, seed), self.block_size)
            images[rows] = samples.images[offsets]
            if conditions is not None:
                assert samples.conditions is not None  # checked
                conditions[rows] = samples.conditions[offsets]
        return Samples(images, conditions)


def read_generator_facts(folder: Path, description: str = GENERATOR) -> dict[str, Any]:
    """Return the contents of generator.json, or of fitted.json.

    Raises:
        UserError: it is missing or damaged.
    """
    facts = read_json(folder / description, MADE_BY)
    if "weights_sha256" not in facts:
        raise UserError(f"{folder / description} does not describe a generator")
    return facts

"""Generated images, and what they add: `fit_generator`, `sample` and `complementarity`."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrobust.analysis.complementarity_and_coverage import (
    ORIGINAL_SETS,
    coverage,
    find_neighbours,
)
from pyrobust.analysis.complementarity_and_coverage import complementarity as shares_of_closest
from pyrobust.analysis.pca import fit_pca, one_blas_thread
from pyrobust.analysis.training_fid import TrainingFid
from pyrobust.api.images import Images, Labels
from pyrobust.api.training_data import Validation, dataset_folder
from pyrobust.config import parse_settings
from pyrobust.config.analysis import NeighbourSettings
from pyrobust.config.api import ComplementarityArguments, SampleArguments
from pyrobust.config.generators import GeneratorSettings
from pyrobust.errors import UserError
from pyrobust.generators import fitting
from pyrobust.generators.base import Generator
from pyrobust.generators.registry import load_generator, samples_of
from pyrobust.imports import import_path_of
from pyrobust.ops.device import choose_device
from pyrobust.training.runtime import Runtime


def fit_generator(
    kind: str | type[Generator],
    images: Images,
    labels: Labels = None,
    *,
    output: str | os.PathLike[str],
    validation: Validation = None,
    device: str = "auto",
    **settings: Any,
) -> Path:
    """Fit a generative model on images and return its folder, for `sample`.

    This is `pyrobust fit-generator` on images in memory. A killed call resumes from `output`; a
    finished one with the same images and settings returns at once.

    Args:
        kind: gaussian, ddpm, edm, biggan, vdvae, stylegan2, or a class of your own or its
            MODULE:NAME (docs/extending.md).
        images, labels, validation: as for `pyrobust.train`. The model sees the images that training
            sees: none of the held-out ones.
        output: folder to write.
        settings: other fields of `GeneratorSettings` (docs/generators.md), such as `preset`.

    Raises:
        UserError: names the argument, its value and what to change.
    """
    values = {"type": import_path_of(kind, "kind"), **settings}
    parsed = parse_settings(GeneratorSettings, values)
    runtime = Runtime(device=str(choose_device(device)), trackers=())
    folder = Path(output)
    with tempfile.TemporaryDirectory() as scratch:
        data = dataset_folder(images, labels, validation, None, {}, Path(scratch, "data"))
        fitting.fit_generator(data, folder, parsed, runtime, TrainingFid)
    return folder


def sample(
    generator: str | os.PathLike[str],
    count: int,
    *,
    first_id: int = 0,
    seed: int | None = None,
    device: str = "auto",
) -> tuple[Tensor, Tensor | None]:
    """Return generated images (count, C, H, W) uint8, and their classes where it has them.

    Image i is a function of (weights, seed, first_id + i) alone, as in `pyrobust sample`.

    Args:
        generator: folder that `fit_generator` or `pyrobust fit-generator` wrote.
        seed: default: that of the generator's settings.

    Raises:
        UserError: there is no such generator, or it has fewer images (imported ones).
    """
    asked = parse_settings(SampleArguments, {"count": count, "first_id": first_id, "seed": seed})
    count, first_id = asked.count, asked.first_id
    opened = load_generator(Path(generator), str(choose_device(device)))
    if opened.count is not None and first_id + count > opened.count:
        raise UserError(
            f"count is {count} from id {first_id} on, but the generator has {opened.count} images"
        )
    ids = np.arange(first_id, first_id + count)
    made = samples_of(opened, ids, opened.spec.settings.seed if asked.seed is None else asked.seed)
    classes = None if made.conditions is None else torch.from_numpy(made.conditions)
    return torch.from_numpy(made.images).permute(0, 3, 1, 2).contiguous(), classes


@dataclass(frozen=True)
class Complementarity:
    """What generated samples add to the training images (appendix D, Algorithm 1).

    Attributes:
        complementarity: shares of samples whose nearest image is in "train", "test" or "self".
        coverage: shares of "train" and "test" that are the nearest image of some sample.
        nearest: set -> index of each sample's nearest image in it, (N,) int64.
        distance: set -> its distance after the PCA, (N,) float64.
    """

    complementarity: Mapping[str, float]
    coverage: Mapping[str, float]
    nearest: Mapping[str, np.ndarray]
    distance: Mapping[str, np.ndarray]


def complementarity(
    train: np.ndarray | Tensor,
    test: np.ndarray | Tensor,
    generated: np.ndarray | Tensor,
    *,
    components: int = NeighbourSettings().components,
    seed: int = 0,
    memory_gb: float = 2.0,
) -> Complementarity:
    """Compare features of generated samples with those of original images, exactly.

    Give sets of equal size for numbers that compare with the paper's.

    Args:
        train, test, generated: features of one extractor, (N, D) each.
        components: of the PCA fitted on train and test.
        seed: of the PCA of wide features.
        memory_gb: bound on what the search holds at once.

    Raises:
        UserError: shapes do not fit, or values are not finite.
    """
    numbers = {"components": components, "seed": seed, "memory_gb": memory_gb}
    asked = parse_settings(ComplementarityArguments, numbers)
    sets = {
        name: _features(name, values)
        for name, values in (("train", train), ("test", test), ("generated", generated))
    }
    widths = {name: values.shape[1] for name, values in sets.items()}
    if len(set(widths.values())) > 1:
        raise UserError(f"features have different widths, {widths}: use one extractor for all sets")
    with one_blas_thread():
        pca = fit_pca([sets["train"], sets["test"]], asked.components, asked.seed)
        points = {name: np.concatenate(list(pca.project(values))) for name, values in sets.items()}
    found = find_neighbours(
        points["train"], points["test"], points["generated"], int(asked.memory_gb * 1e9)
    )
    return Complementarity(
        shares_of_closest(found.closest),
        {name: coverage(found.by_set[name], len(sets[name])) for name in ORIGINAL_SETS},
        {name: neighbours.index for name, neighbours in found.by_set.items()},
        {name: np.sqrt(found.by_set[name].squared_distance) for name in found.by_set},
    )


def _features(name: str, values: np.ndarray | Tensor) -> np.ndarray:
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    if array.ndim != 2 or len(array) < 2:
        raise UserError(f"{name} features have shape {array.shape}, expected (N, D) with N >= 2")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise UserError(f"{name} features are not all finite: remove the rows with NaN or inf")
    return array

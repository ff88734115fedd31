"""Conversion between published `.pt` checkpoints and this project's `.safetensors`."""

from pathlib import Path

from torch import Tensor

from pyrobust.errors import UserError
from pyrobust.models.build import build_model
from pyrobust.models.checkpoints import (
    architecture_of,
    normalization_of,
    read_checkpoint,
    write_checkpoint,
)
from pyrobust.models.files import load_model, load_strictly, save_model
from pyrobust.models.layers import ImageClassifier
from pyrobust.models.published import (
    NORMALIZATION,
    PUBLISHED,
    Normalization,
    download,
    published_model,
)
from pyrobust.models.spec import ModelSpec


def convert_checkpoint(
    source: str,
    target: Path,
    dataset: str | None,
    activation: str,
    image_size: int,
    downloads: Path,
) -> None:
    """Write the weights of `source` to `target` in the format of its suffix.

    Args:
        source: a `.pt` or `.safetensors` file, or (without a suffix) the name of a published
            model, which is downloaded to `downloads`.
        dataset, activation, image_size: what a `.pt` file does not tell of its model; not needed
            where the file's name is that of a published model.

    Raises:
        UserError: an unknown suffix, a file that does not fit, or a normalisation that is missing.
    """
    if target.suffix not in (".safetensors", ".pt"):
        raise UserError(f"{target} ends in '{target.suffix}', expected .safetensors or .pt")
    path = Path(source)
    if not path.suffix:
        path = download(published_model(source), downloads)
    if path.suffix == ".safetensors":
        model, spec = load_model(path, "cpu")
    else:
        model, spec = load_published(path, dataset, activation, image_size)
    if target.suffix == ".pt":
        write_checkpoint(target, model)
    else:
        save_model(target, model, spec)


def load_published(
    path: Path,
    dataset: str | None,
    activation: str = "silu",
    image_size: int = 32,
    normalization: Normalization | None = None,
) -> tuple[ImageClassifier, ModelSpec]:
    """Read a `.pt` checkpoint of the published layout; the model is in evaluation mode.

    Args:
        dataset, activation, image_size: as for `convert_checkpoint`.
        normalization: mean and std, in place of those of the data set or of the file.

    Raises:
        UserError: no such checkpoint, or a normalisation that is missing.
    """
    state = read_checkpoint(path)
    spec = _spec_of(state, path, dataset, activation, image_size, normalization)
    model = build_model(spec)
    load_strictly(model, state, str(path))
    return model, spec


def _spec_of(
    state: dict[str, Tensor],
    path: Path,
    dataset: str | None,
    activation: str,
    image_size: int,
    normalization: Normalization | None,
) -> ModelSpec:
    """Take a stored normalisation out of `state` and return what the file and the user tell."""
    stored = normalization_of(state)
    known = normalization or stored
    if path.stem in PUBLISHED and normalization is None:
        return PUBLISHED[path.stem].spec
    architecture, num_classes, channels = architecture_of(state, str(path))
    if known is None and dataset not in NORMALIZATION:
        raise UserError(
            f"{path} does not tell how its model normalises pixels and dataset is '{dataset}': "
            f"expected one of {', '.join(NORMALIZATION)}; 'pyrobust convert' takes its name as "
            "--dataset, 'pyrobust evaluate' the numbers as --mean and --std"
        )
    mean, std = known or NORMALIZATION[str(dataset)]
    shape = (image_size, image_size, channels)
    return ModelSpec(architecture, activation, num_classes, shape, mean, std)

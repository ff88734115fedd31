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
from pyrobust.models.download import download
from pyrobust.models.files import load_model, load_strictly, save_model
from pyrobust.models.registry import NORMALIZATION, PUBLISHED, published_model
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
        state = read_checkpoint(path)
        spec = _spec_of(state, path, dataset, activation, image_size)
        model = build_model(spec)
        load_strictly(model, state, str(path))
    if target.suffix == ".pt":
        write_checkpoint(target, model)
    else:
        save_model(target, model, spec)


def _spec_of(
    state: dict[str, Tensor], path: Path, dataset: str | None, activation: str, image_size: int
) -> ModelSpec:
    """Take a stored normalisation out of `state` and return what the file and the user tell."""
    stored = normalization_of(state)
    if path.stem in PUBLISHED:
        return PUBLISHED[path.stem].spec
    architecture, num_classes, channels = architecture_of(state, str(path))
    if stored is None and dataset not in NORMALIZATION:
        raise UserError(
            f"{path} does not tell how its model normalises pixels and dataset is '{dataset}': "
            f"give --dataset with one of {', '.join(NORMALIZATION)}"
        )
    mean, std = stored or NORMALIZATION[str(dataset)]
    shape = (image_size, image_size, channels)
    return ModelSpec(architecture, activation, num_classes, shape, mean, std)

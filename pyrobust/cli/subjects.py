"""The model and the images that a verb works on: options, and how they are opened."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pyrobust.cli.options import parse_numbers, stage_folder
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.errors import UserError

if TYPE_CHECKING:
    from pyrobust.evaluation.labelled_images import LabelledImages
    from pyrobust.evaluation.model_sources import ModelSource
    from pyrobust.evaluation.model_under_test import Subject

Split = Literal["train", "validation", "test"]

Model = Annotated[
    str,
    typer.Option(
        help="A folder that 'pyrobust train', 'train-labeller' or 'choose' wrote, or its "
        ".safetensors or index file; a published .pt checkpoint or its name; a TorchScript or "
        "torch.export file; a constructor such as torchvision.models:resnet18; or timm:NAME, "
        "torchvision:NAME, hf:OWNER/REPOSITORY."
    ),
]
Weights = Annotated[Path | None, typer.Option(help="State dict for a constructor.")]
DatasetFolder = Annotated[
    Path, stage_folder("Folder that 'pyrobust dataset' wrote.", "dataset.json")
]
NormOption = Annotated[str, typer.Option(help="Norm of the perturbation set: linf, l2 or l1.")]
EpsilonOption = Annotated[str, typer.Option(help="Radius of that set for pixels in [0, 1]: 8/255.")]
Images = Annotated[
    Path | None,
    typer.Option(
        help="Folder of image files to use instead of a data set, such as <class>/*.png; its test "
        "images if it has splits."
    ),
]
Samples = Annotated[
    Path | None,
    stage_folder(
        "Generated images to attack instead of a split: a store of 'pyrobust select'.",
        "manifest.json",
    ),
]
OptionalDataset = Annotated[
    Path | None, stage_folder("Folder that 'pyrobust dataset' wrote.", "dataset.json")
]


def model_source(
    model: str, weights: Path | None, mean: str | None, std: str | None
) -> "ModelSource":
    """Return what the options say about a model."""
    from pyrobust.evaluation.model_sources import ModelSource, model_file

    return ModelSource(
        model_file(model), weights, parse_numbers("mean", mean), parse_numbers("std", std)
    )


@contextmanager
def opened_images(
    dataset: Path | None, images: Path | None, split: Split, samples: Path | None, store: Path
) -> Iterator["LabelledImages"]:
    """Yield the images that are attacked; if the block refuses them, a new `store` is removed.

    Args:
        store: folder for images from raw files.
    """
    from pyrobust.evaluation.labelled_images import LabelledImages

    if (dataset is None) == (images is None):
        raise UserError("name the images to attack by either --dataset FOLDER or --images FOLDER")
    if dataset is not None:
        yield (
            LabelledImages.of_samples(samples, dataset)
            if samples
            else LabelledImages.of_dataset(dataset, split)
        )
        return
    if samples is not None or split != "test":
        raise UserError("--images attacks test images: leave --split and --samples out")
    made = [path for path in (store, *store.parents) if not path.exists()]
    try:
        yield LabelledImages.of_folder(str(images), store)
    except UserError:
        if made:
            shutil.rmtree(made[-1], ignore_errors=True)
        raise


def open_subject(
    source: "ModelSource",
    images: "LabelledImages",
    threat: ThreatSettings,
    surrogate: str | None = None,
) -> "Subject":
    """Open the model for these images, on a GPU if the core supports it."""
    from pyrobust.evaluation.model_sources import ModelSource, model_file
    from pyrobust.evaluation.model_under_test import Subject
    from pyrobust.ops import choose_device

    device = str(choose_device())
    other = ModelSource(model_file(surrogate)) if surrogate else None
    return Subject.open(source, images, threat, device, other)

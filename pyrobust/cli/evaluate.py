"""Verbs that attack a trained model: `evaluate` and `landscape`."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pyrobust.cli.holding import uses_gpu, writes_folder
from pyrobust.cli.options import (
    Numbers,
    folder_of,
    parse_numbers,
    stage_folder,
    takes_settings,
)
from pyrobust.config import parse_settings
from pyrobust.config.evaluation import (
    EvaluationSettings,
    LandscapeSettings,
    ThreatSettings,
    check_evaluation,
)
from pyrobust.errors import UserError
from pyrobust.files import exclusive, shared

if TYPE_CHECKING:
    from pyrobust.evaluation.evaluate import Share
    from pyrobust.evaluation.labelled_images import LabelledImages
    from pyrobust.evaluation.model_sources import ModelSource
    from pyrobust.evaluation.model_under_test import Subject

Split = Literal["train", "validation", "test"]

Model = Annotated[
    str,
    typer.Option(
        help="A .safetensors file, or the choice.json, training.json or labeller.json next to it; "
        "a published .pt checkpoint or its name; a TorchScript or torch.export file; a constructor "
        "such as torchvision.models:resnet18; or timm:NAME, torchvision:NAME, hf:OWNER/REPOSITORY."
    ),
]
Weights = Annotated[Path | None, typer.Option(help="State dict for a constructor.")]
DatasetFolder = Annotated[
    Path, stage_folder("Folder that 'pyrobust dataset' wrote.", "dataset.json")
]
NormOption = Annotated[str, typer.Option(help="Norm of the perturbation set: linf or l2.")]
EpsilonOption = Annotated[str, typer.Option(help="Its radius for pixels in [0, 1]: 8/255.")]

# Index files of folders that contain a model.
_INDEXES_OF_MODELS = ("choice.json", "training.json", "labeller.json")


@takes_settings(EvaluationSettings)
@uses_gpu
def evaluate(
    model: Model,
    norm: NormOption,
    epsilon: EpsilonOption,
    output: Annotated[Path, stage_folder("Folder to write.", "evaluation.json")],
    settings: EvaluationSettings,
    dataset: Annotated[
        Path | None, stage_folder("Folder that 'pyrobust dataset' wrote.", "dataset.json")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Raw files whose test images are attacked, without a data set: <class>/*.png."
        ),
    ] = None,
    split: Annotated[Split, typer.Option(help="Images that are attacked.")] = "test",
    samples: Annotated[
        Path | None,
        stage_folder(
            "Sample store of 'pyrobust select' that is attacked in place of a split.",
            "manifest.json",
        ),
    ] = None,
    keep_adversarial: Annotated[
        bool, typer.Option("--keep-adversarial", help="Also write the worst point of each image.")
    ] = False,
    weights: Weights = None,
    mean: Numbers = None,
    std: Numbers = None,
    surrogate: Annotated[
        str | None,
        typer.Option(
            help="Another model file for these images, to check that points found on it break no "
            "more than those found on the model itself."
        ),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            help="Attack one share of the batches only, such as 1/4: several jobs do so at once, "
            "and a run without it then writes the results."
        ),
    ] = None,
) -> None:
    """Attack a model and print its clean and robust accuracy, stage by stage."""
    threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon})
    check_evaluation(settings, norm)

    from pyrobust.evaluation import evaluate as evaluation
    from pyrobust.evaluation.describe import describe_result

    mine = _share(share)
    source = _source(model, weights, mean, std)
    with _images(dataset, images, split, samples, output / evaluation.STATE / "images") as found:
        subject = _subject(source, found, threat, surrogate)
        if mine is not None:
            folder = output / evaluation.STATE / f"share-{mine.number}-{mine.of}"
            with shared(output), exclusive(folder):
                evaluation.evaluate(subject, output, settings, keep_adversarial, mine)
            return
        with exclusive(output):
            result = evaluation.evaluate(subject, output, settings, keep_adversarial)
    for line in describe_result(result or {}):
        print(line)


@takes_settings(LandscapeSettings)
@writes_folder
@uses_gpu
def landscape(
    model: Model,
    dataset: DatasetFolder,
    norm: NormOption,
    epsilon: EpsilonOption,
    output: Annotated[Path, stage_folder("Folder to write.", "landscape.json")],
    settings: LandscapeSettings,
    weights: Weights = None,
    mean: Numbers = None,
    std: Numbers = None,
) -> None:
    """Map the margin around test images, along an attack and along a random direction."""
    threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon})

    from pyrobust.evaluation import loss_landscape as landscapes
    from pyrobust.evaluation.labelled_images import LabelledImages

    images = LabelledImages.of_dataset(dataset)
    subject = _subject(_source(model, weights, mean, std), images, threat)
    landscapes.write_landscape(subject, output, settings)


def robustbench(
    evaluation: Annotated[
        Path,
        typer.Argument(
            help="Folder that 'pyrobust evaluate' wrote, or its evaluation.json.",
            parser=lambda text: folder_of(text, ("evaluation.json",)),
            metavar="PATH",
        ),
    ],
    title: Annotated[str, typer.Option(help="Of the paper.")],
    authors: Annotated[str, typer.Option(help="With commas between them.")],
    link: Annotated[str, typer.Option(help="Where the paper is.")],
    architecture: Annotated[str, typer.Option(help="As the board prints it: WideResNet-28-10.")],
    output: Annotated[
        Path, typer.Option(help="File to write: <Name><Year><FirstWordOfTheTitle>.json.")
    ],
    venue: Annotated[str, typer.Option(help="Conference and year.")] = "Unpublished",
    additional_data: Annotated[
        bool, typer.Option("--additional-data", help="Real images from elsewhere were used.")
    ] = False,
    reported: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Robust accuracy that the paper states, as a fraction."),
    ] = None,
    footnote: Annotated[str, typer.Option(help="Generated images that were used, and more.")] = "",
) -> None:
    """Write the entry that RobustBench asks for, from an evaluation with AutoAttack."""
    from pyrobust.evaluation.leaderboard import Publication, write_entry

    publication = Publication(
        title, authors, link, venue, architecture, additional_data, reported, footnote
    )
    write_entry(evaluation, publication, output)


def _source(model: str, weights: Path | None, mean: str | None, std: str | None) -> "ModelSource":
    from pyrobust.evaluation.model_sources import ModelSource

    return ModelSource(
        _model_file(model), weights, parse_numbers("mean", mean), parse_numbers("std", std)
    )


@contextmanager
def _images(
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


def _subject(
    source: "ModelSource",
    images: "LabelledImages",
    threat: ThreatSettings,
    surrogate: str | None = None,
) -> "Subject":
    from pyrobust.evaluation.model_sources import ModelSource
    from pyrobust.evaluation.model_under_test import Subject
    from pyrobust.ops import choose_device

    device = str(choose_device())
    other = ModelSource(_model_file(surrogate)) if surrogate else None
    return Subject.open(source, images, threat, device, other)


def _model_file(model: str) -> str:
    """Return the model next to an index file; return anything else unchanged."""
    path = Path(model)
    return str(path.with_name("model.safetensors")) if path.name in _INDEXES_OF_MODELS else model


def _share(text: str | None) -> "Share | None":
    """Return the share that "1/4" spells."""
    from pyrobust.evaluation.evaluate import Share

    if text is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]*)/([1-9][0-9]*)", text)
    if match is None or int(match[1]) > int(match[2]):
        raise UserError(f"share is '{text}', expected NUMBER/OF such as 1/4, from 1/4 to 4/4")
    return Share(int(match[1]), int(match[2]))

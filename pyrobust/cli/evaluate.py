"""Verbs that attack a trained model: `evaluate` and `landscape`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.holding import holding, uses_gpu, writes_folder
from pyrobust.cli.options import Numbers, ShareOption, stage_folder, takes_settings
from pyrobust.cli.subjects import (
    DatasetFolder,
    EpsilonOption,
    Images,
    Model,
    NormOption,
    OptionalDataset,
    Samples,
    Split,
    Weights,
    model_source,
    open_subject,
    opened_images,
)
from pyrobust.config import parse_settings
from pyrobust.config.evaluation import (
    EvaluationSettings,
    LandscapeSettings,
    ThreatSettings,
    check_evaluation,
)
from pyrobust.trackers import parse_trackers


@takes_settings(EvaluationSettings)
@uses_gpu
def evaluate(
    model: Model,
    norm: NormOption,
    epsilon: EpsilonOption,
    output: Annotated[Path, stage_folder("Folder to write.", "evaluation.json")],
    settings: EvaluationSettings,
    dataset: OptionalDataset = None,
    images: Images = None,
    split: Annotated[Split, typer.Option(help="Split to attack.")] = "test",
    samples: Samples = None,
    keep_adversarial: Annotated[
        bool,
        typer.Option(
            "--keep-adversarial",
            help="Also write the strongest adversarial images found, as adversarial.npy.",
        ),
    ] = False,
    weights: Weights = None,
    mean: Numbers = None,
    std: Numbers = None,
    surrogate: Annotated[
        str | None,
        typer.Option(
            help="Another model for these images, for a check of masked gradients: adversarial "
            "images found on it must not break more than those found on the model itself."
        ),
    ] = None,
    share: ShareOption = None,
    transcript: Annotated[
        Path | None,
        typer.Option(
            help="Also write the points that break images to this .safetensors file, which "
            "'pyrobust verify' checks."
        ),
    ] = None,
    trackers: Annotated[
        str,
        typer.Option(
            help="Trackers of the result, with commas between: tensorboard, wandb, mlflow, "
            "trackio.",
            envvar="PYROBUST_TRACKERS",
        ),
    ] = "",
    budget: Annotated[
        str | None,
        typer.Option(
            help="Attack images in random order for this time, such as 30m. Intervals are valid "
            "whenever the evaluation stops, including on a signal; the same command resumes."
        ),
    ] = None,
    until_width: Annotated[
        float | None,
        typer.Option(
            help="The same, until the interval of robust accuracy is this narrow, in percentage "
            "points."
        ),
    ] = None,
) -> None:
    """Attack a model and print its clean and robust accuracy."""
    names = parse_trackers(trackers)
    threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon})
    check_evaluation(settings, norm)

    from pyrobust.evaluation import evaluate as evaluation
    from pyrobust.evaluation.anytime import Limits
    from pyrobust.evaluation.describe import describe_result
    from pyrobust.evaluation.tracking import track_result
    from pyrobust.files import write_text
    from pyrobust.reporting.evaluation_page import evaluation_page

    limits = Limits.of(budget, until_width)
    source = model_source(model, weights, mean, std)
    with ExitStack() as stack:
        held = holding(output, output / evaluation.STATE, share)
        if share is None:  # before images are opened: another run removes their store at its end
            stack.enter_context(held)
        store = output / evaluation.STATE / "images"
        found = stack.enter_context(opened_images(dataset, images, split, samples, store))
        subject = open_subject(source, found, threat, surrogate)
        if share is not None:
            stack.enter_context(held)
        result = evaluation.evaluate(
            subject, output, settings, keep_adversarial, share, transcript, limits
        )
        if result is None:  # a share alone
            return
        write_text(output / "evaluation.html", evaluation_page(result))
        track_result(result, output, names)
    for line in describe_result(result):
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
    """Map the margin around test images in two directions.

    One direction is adversarial, the other is random.
    """
    threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon})

    from pyrobust.evaluation import loss_landscape as landscapes
    from pyrobust.evaluation.labelled_images import LabelledImages

    images = LabelledImages.of_dataset(dataset)
    subject = open_subject(model_source(model, weights, mean, std), images, threat)
    landscapes.write_landscape(subject, output, settings)

"""Verbs on generated images: `fit-generator`, `sample`, `label`, `distances`, `select`, `mix`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyrobust.cli.options import takes_settings
from pyrobust.cli.runtime import takes_runtime
from pyrobust.cli.stage import uses_gpu, writes_folder
from pyrobust.config.analysis import ExtractorSettings
from pyrobust.config.data import SelectionSettings
from pyrobust.config.generators import GeneratorSettings

if TYPE_CHECKING:
    from pyrobust.training.runtime import Runtime

Output = Annotated[Path, typer.Option(help="Folder to write.")]
GeneratorFolder = Annotated[Path, typer.Option(help="Folder of the generator.")]
LabellerFolder = Annotated[Path, typer.Option(help="Folder of the labeller.")]
MemoryGb = Annotated[
    float, typer.Option(min=0.1, help="Memory that a search may take; no result changes.")
]


@takes_settings(GeneratorSettings)
@takes_runtime
def fit_generator(
    dataset: Annotated[Path, typer.Option(help="Folder of the data set.")],
    output: Output,
    settings: GeneratorSettings,
    runtime: "Runtime",
) -> None:
    """Fit a generative model on the training images.

    It holds its folder by itself: of several processes only one does.
    """
    from pyrobust.analysis.training_fid import TrainingFid
    from pyrobust.generators import fitting

    fitting.fit_generator(dataset, output, settings, runtime, TrainingFid)


@writes_folder
@uses_gpu
def sample(
    generator: GeneratorFolder,
    part: Annotated[int, typer.Option(min=0, help="Number of the part, from 0 on.")],
    part_size: Annotated[int, typer.Option(min=1, help="Images of each part.")],
    output: Output,
    count: Annotated[
        int | None, typer.Option(min=1, help="Images of all parts; it cuts the last one short.")
    ] = None,
) -> None:
    """Draw one part of the generated images."""
    from pyrobust.generators.sampling import sample_part

    sample_part(generator, part, part_size, output, count, _device())


@takes_settings(ExtractorSettings)
@writes_folder
@uses_gpu
def label(
    samples: Annotated[Path, typer.Option(help="Folder of a part of the samples.")],
    labeller: LabellerFolder,
    output: Output,
    settings: ExtractorSettings,
    features: Annotated[
        Path | None,
        typer.Option(help="Folder to write the images' features to, as they are read."),
    ] = None,
) -> None:
    """Give each generated image the labeller's class and confidence."""
    import torch

    from pyrobust.analysis.feature_extractors import make_extractor
    from pyrobust.analysis.part_features import PartFeatures
    from pyrobust.generators.pseudo_labels import label_part

    device = _device()
    keeper = None
    if features is not None:
        extractor = make_extractor(settings, labeller, torch.device(device))
        keeper = PartFeatures(extractor, features, settings)
    label_part(samples, labeller, output, device, keeper)


@writes_folder
@uses_gpu
def distances(
    samples: Annotated[Path, typer.Option(help="Folder of a part of the samples.")],
    dataset: Annotated[Path, typer.Option(help="Folder of the data set.")],
    output: Output,
    memory_gb: MemoryGb = 2.0,
) -> None:
    """Measure how far each generated image lies from the training images, pixel by pixel."""
    from pyrobust.analysis.near_copies import TrainingDistances
    from pyrobust.data.dataset import Dataset
    from pyrobust.data.store import SampleStore

    measure = TrainingDistances(Dataset.open(dataset), int(memory_gb * 1e9))
    measure.measure(SampleStore.open(samples), output)


@takes_settings(SelectionSettings)
@writes_folder
@uses_gpu
def select(
    generator: GeneratorFolder,
    labeller: LabellerFolder,
    parts: Annotated[Path, typer.Option(help="Folder of the numbered parts.")],
    labels: Annotated[Path, typer.Option(help="Folder of their numbered labels.")],
    num_parts: Annotated[int, typer.Option(min=0, help="Parts to choose from.")],
    num_samples: Annotated[int, typer.Option(min=1, help="Images to keep.")],
    output: Output,
    settings: SelectionSettings,
    distances: Annotated[
        Path | None,
        typer.Option(help="Folder of the parts' numbered distances, for --min-distance."),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Folder of the data set, for --min-distance.")
    ] = None,
    memory_gb: MemoryGb = 2.0,
) -> None:
    """Keep a class-balanced, shuffled set of the labelled images."""
    from pyrobust.analysis.near_copies import TrainingDistances
    from pyrobust.data.dataset import Dataset
    from pyrobust.generators.selecting import select_parts

    measure = None
    if dataset is not None:
        measure = TrainingDistances(Dataset.open(dataset), int(memory_gb * 1e9))
    select_parts(
        generator,
        labeller,
        parts,
        labels,
        num_parts,
        num_samples,
        output,
        settings,
        _device(),
        distances,
        measure,
    )


@writes_folder
def mix(
    first: Annotated[Path, typer.Option(help="Sample store that fills what --second leaves.")],
    second: Annotated[Path, typer.Option(help="Sample store that is mixed in.")],
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the second store.")],
    num_samples: Annotated[int, typer.Option(min=1, help="Images of the mixture.")],
    output: Output,
    classes: Annotated[
        int | None,
        typer.Option(min=0, help="Classes that are taken of the second store; all if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order of the images.")] = 0,
) -> None:
    """Mix two sets of selected samples, as section 6.1 of the paper does."""
    from pyrobust.data.mixing import mix_stores

    mix_stores(first, second, share, classes, num_samples, output, seed)


def _device() -> str:
    from pyrobust.ops import choose_device

    return str(choose_device())

"""Verbs for generated images: `fit-generator`, `sample`, `label`, `distances`, `select`, `mix`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from pyrobust.cli.holding import takes_runtime, uses_gpu, writes_folder
from pyrobust.cli.options import SearchMemoryGb, stage_folder, takes_settings
from pyrobust.config.analysis import SEARCH_MEMORY_GB, ExtractorSettings
from pyrobust.config.data import SelectionSettings
from pyrobust.config.generators import GeneratorSettings

if TYPE_CHECKING:
    from pyrobust.training.runtime import Runtime

DatasetFolder = Annotated[Path, stage_folder("Folder of the data set.", "dataset.json")]
GeneratorFolder = Annotated[Path, stage_folder("Folder of the generator.", "generator.json")]
LabellerFolder = Annotated[Path, stage_folder("Folder of the labeller.", "labeller.json")]
PartFolder = Annotated[Path, stage_folder("Folder of a part of the samples.", "manifest.json")]


def _output(index: str) -> OptionInfo:
    return stage_folder("Folder to write.", index)


@takes_settings(GeneratorSettings)
@takes_runtime
def fit_generator(
    dataset: DatasetFolder,
    output: Annotated[Path, _output("generator.json")],
    settings: GeneratorSettings,
    runtime: "Runtime",
) -> None:
    """Fit a generative model on the training images."""
    from pyrobust.analysis.training_fid import TrainingFid
    from pyrobust.generators import fitting

    fitting.fit_generator(dataset, output, settings, runtime, TrainingFid)


@writes_folder
@uses_gpu
def sample(
    generator: GeneratorFolder,
    output: Annotated[Path, _output("manifest.json")],
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images to draw, in all parts together. Default: one part, or all if imported.",
        ),
    ] = None,
    part: Annotated[
        int | None,
        typer.Option(min=0, help="Draw only this part, from 0; parallel jobs draw one each."),
    ] = None,
    part_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images of each part. Default: that of the generator's settings."),
    ] = None,
) -> None:
    """Draw images from a generator."""
    from pyrobust.generators.sampling import sample_part

    sample_part(generator, part, part_size, output, count, _device())


@takes_settings(ExtractorSettings)
@writes_folder
@uses_gpu
def label(
    samples: PartFolder,
    labeller: LabellerFolder,
    output: Annotated[Path, _output("labels.json")],
    settings: ExtractorSettings,
    features: Annotated[
        Path | None,
        stage_folder("Folder for features, computed while the images are read.", "features.json"),
    ] = None,
) -> None:
    """Label generated images with class and confidence."""
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
    samples: PartFolder,
    dataset: DatasetFolder,
    output: Annotated[Path, _output("distances.json")],
    search_memory_gb: SearchMemoryGb = SEARCH_MEMORY_GB,
) -> None:
    """Measure distances of samples to training images.

    A distance is the root-mean-square pixel difference to the nearest training image.
    """
    from pyrobust.analysis.near_copies import TrainingDistances
    from pyrobust.data.dataset import Dataset
    from pyrobust.data.store import SampleStore

    measure = TrainingDistances(Dataset.open(dataset), int(search_memory_gb * 1e9))
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
    output: Annotated[Path, _output("manifest.json")],
    settings: SelectionSettings,
    distances: Annotated[
        Path | None,
        typer.Option(help="Folder of the parts' numbered distances, for --min-distance."),
    ] = None,
    dataset: Annotated[
        Path | None, stage_folder("Folder of the data set, for --min-distance.", "dataset.json")
    ] = None,
    search_memory_gb: SearchMemoryGb = SEARCH_MEMORY_GB,
) -> None:
    """Select a class-balanced, shuffled set of samples."""
    from pyrobust.analysis.near_copies import TrainingDistances
    from pyrobust.data.dataset import Dataset
    from pyrobust.generators.selecting import select_parts

    measure = None
    if dataset is not None:
        measure = TrainingDistances(Dataset.open(dataset), int(search_memory_gb * 1e9))
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
    first: Annotated[Path, stage_folder("Sample store of the other images.", "manifest.json")],
    second: Annotated[Path, stage_folder("Sample store that is mixed in.", "manifest.json")],
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the second store.")],
    num_samples: Annotated[int, typer.Option(min=1, help="Images of the mixture.")],
    output: Annotated[Path, _output("manifest.json")],
    classes: Annotated[
        int | None,
        typer.Option(min=0, help="Number of classes to take from the second store. Default: all."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order of the images.")] = 0,
) -> None:
    """Mix two sets of selected samples (section 6.1)."""
    from pyrobust.data.mixing import mix_stores

    mix_stores(first, second, share, classes, num_samples, output, seed)


def _device() -> str:
    from pyrobust.ops import choose_device

    return str(choose_device())

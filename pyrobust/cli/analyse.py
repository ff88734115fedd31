"""Verbs on generated data: `features`, `neighbours`, `quality` and `augment`."""

from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from pyrobust.cli.options import takes_settings
from pyrobust.cli.stage import uses_gpu, writes_folder
from pyrobust.config.analysis import FeatureSettings, NeighbourSettings, QualitySettings

Output = Annotated[Path, typer.Option(help="Folder to write.")]


def _features_of(what: str) -> OptionInfo:
    option: OptionInfo = typer.Option(help=f"Folder of the features of {what}.")
    return option


@takes_settings(FeatureSettings)
@writes_folder
@uses_gpu
def features(
    store: Annotated[list[Path], typer.Option(help="Sample store; several are read as one.")],
    output: Output,
    settings: FeatureSettings,
    labeller: Annotated[
        Path | None, typer.Option(help="Folder of the labeller, where it is the extractor.")
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(help="Folder of what 'label --features' kept of the parts; it is copied."),
    ] = None,
) -> None:
    """Pass the images of stores through a network and keep its features."""
    from pyrobust.analysis.feature_extractors import make_extractor
    from pyrobust.analysis.features import extract_features
    from pyrobust.data.store import SampleStore
    from pyrobust.ops import choose_device

    stores = [SampleStore.open(path) for path in store]
    extractor = make_extractor(settings, labeller, choose_device())
    extract_features(stores, extractor, output, settings, known)


@takes_settings(NeighbourSettings)
@writes_folder
@uses_gpu
def neighbours(
    train: Annotated[Path, _features_of("the training split")],
    test: Annotated[Path, _features_of("the test split")],
    generated: Annotated[Path, _features_of("the generated images")],
    output: Output,
    settings: NeighbourSettings,
    memory_gb: Annotated[
        float,
        typer.Option(min=0.1, help="Memory that the search may take; no exact result changes."),
    ] = 2.0,
) -> None:
    """Measure complementarity and coverage of generated images (Algorithm 1)."""
    from pyrobust.analysis.neighbours import measure_neighbours
    from pyrobust.data.feature_set import FeatureSet

    sets = {
        name: FeatureSet.open(path)
        for name, path in (("train", train), ("test", test), ("self", generated))
    }
    measure_neighbours(sets, output, settings, int(memory_gb * 1e9))


@takes_settings(QualitySettings)
@writes_folder
def quality(
    original: Annotated[Path, _features_of("the original images")],
    generated: Annotated[Path, _features_of("the generated images")],
    output: Output,
    settings: QualitySettings,
) -> None:
    """Measure FID, Inception score, precision, recall, density and coverage."""
    from pyrobust.analysis.quality import measure_quality
    from pyrobust.data.feature_set import FeatureSet

    measure_quality(FeatureSet.open(original), FeatureSet.open(generated), output, settings)


@writes_folder
def augment(
    store: Annotated[Path, typer.Option(help="Sample store of the training images.")],
    augmentation: Annotated[
        str,
        typer.Option(help="crop_flip, cutout, mixup, cutmix, rand_augment or auto_augment."),
    ],
    output: Output,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the changes.")] = 0,
) -> None:
    """Change training images, to be analysed as if a generator had made them (Table 5)."""
    from pyrobust.analysis.augmentations import augment_store
    from pyrobust.data.store import SampleStore

    augment_store(SampleStore.open(store), output, augmentation, seed)

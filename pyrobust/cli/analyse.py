"""Verbs for the analysis of generated data: `features`, `neighbours`, `quality`, `augment`."""

from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from pyrobust.cli.holding import holding, uses_gpu, writes_folder
from pyrobust.cli.options import SearchMemoryGb, ShareOption, stage_folder, takes_settings
from pyrobust.cli.subjects import Split
from pyrobust.config.analysis import (
    SEARCH_MEMORY_GB,
    FeatureSettings,
    NeighbourSettings,
    QualitySettings,
)


def _output(index: str) -> OptionInfo:
    return stage_folder("Folder to write.", index)


def _features_of(what: str) -> OptionInfo:
    return stage_folder(f"Folder of the features of {what}.", "features.json")


@takes_settings(FeatureSettings)
@writes_folder
@uses_gpu
def features(
    store: Annotated[
        list[Path],
        stage_folder(
            "Sample store (repeat the option to read several as one), or data set with --split",
            "manifest.json",
            "dataset.json",
        ),
    ],
    output: Annotated[Path, _output("features.json")],
    settings: FeatureSettings,
    labeller: Annotated[
        Path | None,
        stage_folder("Folder of the labeller, if it is the extractor.", "labeller.json"),
    ] = None,
    split: Annotated[Split | None, typer.Option(help="Split of the data set.")] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            help="Folder of features that 'label --features' wrote for the parts; they are copied "
            "instead of computed."
        ),
    ] = None,
) -> None:
    """Compute features of the images in stores."""
    from pyrobust.analysis.feature_extractors import make_extractor
    from pyrobust.analysis.features import extract_features
    from pyrobust.data.store import SampleStore
    from pyrobust.ops import choose_device

    stores = [SampleStore.open(path / split if split else path) for path in store]
    extractor = make_extractor(settings, labeller, choose_device())
    extract_features(stores, extractor, output, settings, known)


@takes_settings(NeighbourSettings)
@uses_gpu
def neighbours(
    train: Annotated[Path, _features_of("the training split")],
    test: Annotated[Path, _features_of("the test split")],
    generated: Annotated[Path, _features_of("the generated images")],
    output: Annotated[Path, _output("neighbours.json")],
    settings: NeighbourSettings,
    search_memory_gb: SearchMemoryGb = SEARCH_MEMORY_GB,
    share: ShareOption = None,
) -> None:
    """Measure complementarity and coverage (Algorithm 1)."""
    from pyrobust.analysis.neighbours import STATE, measure_neighbours
    from pyrobust.data.feature_set import FeatureSet

    sets = {
        name: FeatureSet.open(path)
        for name, path in (("train", train), ("test", test), ("self", generated))
    }
    state = output / STATE  # others may write to `output` meanwhile
    with holding(state, state, share):
        measure_neighbours(sets, output, settings, int(search_memory_gb * 1e9), share)


@takes_settings(QualitySettings)
@writes_folder
def quality(
    original: Annotated[Path, _features_of("the original images")],
    generated: Annotated[Path, _features_of("the generated images")],
    output: Annotated[Path, _output("quality.json")],
    settings: QualitySettings,
) -> None:
    """Measure FID, Inception score, precision and recall.

    It also measures density and coverage.
    """
    from pyrobust.analysis.quality import measure_quality
    from pyrobust.data.feature_set import FeatureSet

    measure_quality(FeatureSet.open(original), FeatureSet.open(generated), output, settings)


@writes_folder
def augment(
    store: Annotated[
        Path,
        stage_folder(
            "Sample store of the training images, or a data set.", "manifest.json", "dataset.json"
        ),
    ],
    augmentation: Annotated[
        str,
        typer.Option(help="crop_flip, cutout, mixup, cutmix, rand_augment or auto_augment."),
    ],
    output: Annotated[Path, _output("manifest.json")],
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the augmentation.")] = 0,
) -> None:
    """Augment training images for an analysis (Table 5).

    They take the place of generated images.
    """
    from pyrobust.analysis.augmentations import augment_store
    from pyrobust.data.store import SampleStore

    train = store / "train" if (store / "dataset.json").is_file() else store
    augment_store(SampleStore.open(train), output, augmentation, seed)

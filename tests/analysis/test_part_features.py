from pathlib import Path

import numpy as np
import pytest
import torch

from pyrobust.analysis.feature_extractors import make_extractor
from pyrobust.analysis.features import extract_features
from pyrobust.analysis.part_features import PartFeatures
from pyrobust.config.analysis import FeatureSettings
from pyrobust.data import feature_set, labels
from pyrobust.data.feature_set import FeatureSet
from pyrobust.data.labels import LabelStore
from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError
from pyrobust.generators.pseudo_labels import label_part
from pyrobust.models.extraction import Extractor
from tests.analysis.making import CLASS_NAMES, make_store, run_verb

CPU = torch.device("cpu")


def mean_colour(fail_after: int | None = None) -> Extractor:
    """Return an extractor without logits, which stops after some batches of 16."""
    calls = 0

    def compute(images: torch.Tensor) -> tuple[torch.Tensor, None]:
        nonlocal calls
        calls += 1
        if fail_after is not None and calls > fail_after:
            raise KeyboardInterrupt
        return images.float().mean(dim=(2, 3)), None

    return Extractor("mean colour", "0" * 64, 16, CPU, compute)


def label(
    store: SampleStore, labeller: Path, output: Path, extractor: Extractor, dtype: str = "float32"
) -> FeatureSet:
    """Label a part and return the features that were kept."""
    keeper = PartFeatures(extractor, output / "features", FeatureSettings(dtype=dtype))
    label_part(store.path, labeller, output / "labels", "cpu", keeper)
    return FeatureSet.open(output / "features")


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name != "cost.json"}


def select(folder: Path, part: SampleStore, ids: np.ndarray) -> SampleStore:
    """Write some images of a part as a selection does."""
    provenance = {**part.provenance, "selection": {}}
    writer = StoreWriter(
        folder, part.image_shape, CLASS_NAMES, len(ids), provenance, "a test", identified=True
    )
    writer.append(part.gather(ids), ids % 2, ids=ids)
    writer.finish()
    return SampleStore.open(folder)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("own", [True, False])
def test_features_kept_while_labelling_are_those_of_a_separate_pass(
    own: bool, dtype: str, tmp_path: Path, labeller: Path
) -> None:
    store = make_store(tmp_path / "store", 600, labelled=False)
    extractor = make_extractor(FeatureSettings(), labeller, CPU) if own else mean_colour()
    kept = label(store, labeller, tmp_path, extractor, dtype)
    extract_features([store], extractor, tmp_path / "apart", FeatureSettings(dtype=dtype))
    for file in (tmp_path / "apart").glob("*.npy"):
        assert (tmp_path / "features" / file.name).read_bytes() == file.read_bytes()
    label_part(store.path, labeller, tmp_path / "labels_alone", "cpu")
    assert files_of(tmp_path / "labels_alone") == files_of(tmp_path / "labels")
    np.testing.assert_array_equal(kept.labels(), LabelStore.open(tmp_path / "labels").labels())


@pytest.mark.parametrize("fail_after", [1, 12, 25, 38])
def test_a_killed_pass_resumes_to_the_same_files(
    fail_after: int, tmp_path: Path, labeller: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_set, "_SHARD_BYTES", 4 * 3 * 160)  # ten batches of 16
    monkeypatch.setattr(labels, "_SHARD_SIZE", 110)
    store = make_store(tmp_path / "store", 600)
    label(store, labeller, tmp_path / "straight", mean_colour())
    with pytest.raises(KeyboardInterrupt):
        label(store, labeller, tmp_path / "killed", mean_colour(fail_after))
    assert not (tmp_path / "killed/features/features.json").exists()
    label(store, labeller, tmp_path / "killed", mean_colour())
    for name in ("labels", "features"):
        assert files_of(tmp_path / "killed" / name) == files_of(tmp_path / "straight" / name)


def test_labels_that_are_there_get_their_features(tmp_path: Path, labeller: Path) -> None:
    store = make_store(tmp_path / "store", 300)
    label_part(store.path, labeller, tmp_path / "labels", "cpu")
    before = files_of(tmp_path / "labels")
    assert label(store, labeller, tmp_path, mean_colour()).count == 300
    assert files_of(tmp_path / "labels") == before


def test_known_features_are_copied_and_the_others_computed(tmp_path: Path, labeller: Path) -> None:
    part = make_store(tmp_path / "store", 300)
    kept = label(part, labeller, tmp_path / "parts/0", mean_colour())
    ids = np.random.default_rng(0).permutation(300)[:200]
    chosen = [select(tmp_path / "chosen", part, ids)]
    extract_features(chosen, mean_colour(), tmp_path / "apart", FeatureSettings())
    # One pass tells the width, and one of no image that of those which are not known.
    twice = mean_colour(fail_after=2)
    extract_features(chosen, twice, tmp_path / "copied", FeatureSettings(), tmp_path / "parts/0")
    assert files_of(tmp_path / "copied") == files_of(tmp_path / "apart")
    copied = FeatureSet.open(tmp_path / "copied").features(np.arange(200))
    np.testing.assert_array_equal(copied, kept.features(ids))
    some = make_part_of(part, tmp_path / "some", range(100, 250))
    label(some, labeller, tmp_path / "fewer/0", mean_colour())
    extract_features(
        chosen, mean_colour(), tmp_path / "mixed", FeatureSettings(), tmp_path / "fewer/0"
    )
    assert files_of(tmp_path / "mixed") == files_of(tmp_path / "apart")


def make_part_of(store: SampleStore, path: Path, ids: range) -> SampleStore:
    writer = StoreWriter(
        path, store.image_shape, CLASS_NAMES, len(ids), store.provenance, "a test",
        labelled=False, first_id=ids.start,
    )  # fmt: skip
    writer.append(store.gather(np.array(ids)))
    writer.finish()
    return SampleStore.open(path)


def test_features_of_other_samples_or_another_kind_are_never_copied(
    tmp_path: Path, labeller: Path
) -> None:
    part, other = (make_store(tmp_path / f"store{seed}", 50, seed) for seed in range(2))
    label(part, labeller, tmp_path / "parts", mean_colour())
    chosen = select(tmp_path / "chosen", part, np.arange(50))
    of_another = select(tmp_path / "other", other, np.arange(50))
    half = FeatureSettings(dtype="float16")
    extractor = make_extractor(FeatureSettings(), labeller, CPU)
    for store, network, settings in (
        (of_another, mean_colour(), FeatureSettings()),
        (chosen, mean_colour(), half),
        (chosen, extractor, FeatureSettings()),
    ):
        with pytest.raises(
            UserError, match=r"parts has no float\d+ features of .*; run 'pyrobust label"
        ):
            extract_features([store], network, tmp_path / "out", settings, tmp_path / "parts")


def test_the_verbs_hand_features_on(tmp_path: Path, labeller: Path) -> None:
    part = make_store(tmp_path / "part", 80)
    run_verb(
        "label",
        samples=part.path,
        labeller=labeller,
        output=tmp_path / "labels",
        features=tmp_path / "features/0",
    )
    chosen = select(tmp_path / "chosen", part, np.arange(79, 10, -1))
    for output, known in (("apart", {}), ("copied", {"known": tmp_path / "features"})):
        run_verb(
            "features", store=chosen.path, labeller=labeller, output=tmp_path / output, **known
        )
    assert files_of(tmp_path / "copied") == files_of(tmp_path / "apart")

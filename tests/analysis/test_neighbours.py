import json
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from sklearn.datasets import load_digits

from pyrobust.analysis import complementarity_and_coverage, exact_search, neighbours
from pyrobust.analysis.candidates import Neighbours, squared_distances
from pyrobust.analysis.complementarity_and_coverage import (
    SETS,
    SetNeighbours,
    complementarity,
    coverage,
    per_class,
)
from pyrobust.analysis.image_subsets import stratified_subset
from pyrobust.analysis.neighbours import measure_neighbours
from pyrobust.analysis.search_state import SearchStates
from pyrobust.config.analysis import NeighbourSettings
from pyrobust.data.feature_set import FeatureSet
from pyrobust.errors import UserError
from pyrobust.shares import Share
from tests.analysis.making import make_features, run_verb
from tests.kills import Killed

MEMORY = 1 << 30


def make_set(path: Path, count: int, seed: int, **given: object) -> FeatureSet:
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, 6)).round(1)
    return make_features(path, features, random.integers(0, 2, count), **given)  # type: ignore[arg-type]


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, FeatureSet]:
    sizes = {"train": 400, "test": 150, "self": 700}
    return {
        name: make_set(tmp_path / name, size, seed)
        for seed, (name, size) in enumerate(sizes.items())
    }


def read(folder: Path) -> dict[str, object]:
    result: dict[str, object] = json.loads((folder / "neighbours.json").read_text())
    return result


def test_sets_are_cut_to_one_size_with_equal_classes(
    sets: dict[str, FeatureSet], tmp_path: Path
) -> None:
    measure_neighbours(sets, tmp_path, NeighbourSettings(), MEMORY)
    smallest = 2 * int(np.bincount(sets["test"].labels()).min())
    found = read(tmp_path)
    assert found["num_samples"] == smallest < 150
    assert found["set_sizes"] == {"train": smallest, "test": smallest, "self": smallest}
    assert found["components"] == 6
    assert found["approximate"] is None


def test_shares_follow_from_the_table(sets: dict[str, FeatureSet], tmp_path: Path) -> None:
    measure_neighbours(sets, tmp_path, NeighbourSettings(num_samples=100), MEMORY)
    found = read(tmp_path)
    table = parquet.read_table(tmp_path / "neighbours.parquet").to_pydict()
    assert len(table["index"]) == found["num_samples"] == 100
    for name in ("train", "test", "self"):
        assert found["complementarity"][name] == table["closest"].count(name) / 100  # type: ignore[index]
    for name in ("train", "test"):
        assert found["coverage"][name] == len(set(table[name])) / 100  # type: ignore[index]
    by_class = found["per_class"]
    assert sum(by_class[name]["complementarity"]["self"] for name in ("cat", "dog")) / 2 == (  # type: ignore[index]
        pytest.approx(found["complementarity"]["self"])  # type: ignore[index]
    )


def test_the_table_names_rows_of_the_stores(sets: dict[str, FeatureSet], tmp_path: Path) -> None:
    """All six dimensions are kept, so distances are those of the features."""
    measure_neighbours(sets, tmp_path, NeighbourSettings(), MEMORY)
    table = parquet.read_table(tmp_path / "neighbours.parquet").to_pydict()
    of = {name: sets[name].features(np.arange(sets[name].count)) for name in sets}
    for name in sets:
        assert table["index"] != table[name]
        rows, nearest = (np.array(table[column]) - 1000 for column in ("index", name))
        distance = np.sqrt(squared_distances(of["self"][rows], of[name][nearest]))
        np.testing.assert_allclose(table[f"{name}_distance"], distance, rtol=1e-4, atol=1e-5)
    labels = sets["self"].labels()[np.array(table["index"]) - 1000]
    np.testing.assert_array_equal(table["label"], labels)


def test_memory_changes_no_byte(sets: dict[str, FeatureSet], tmp_path: Path) -> None:
    for name, memory in (("small", 1), ("large", MEMORY)):
        (tmp_path / name).mkdir()
        measure_neighbours(sets, tmp_path / name, NeighbourSettings(whole_sets=True), memory)
    for file in ("neighbours.json", "neighbours.parquet"):
        assert (tmp_path / "small" / file).read_bytes() == (tmp_path / "large" / file).read_bytes()
    assert read(tmp_path / "small")["set_sizes"] == {"train": 400, "test": 150, "self": 700}


def test_the_table_is_written_piece_by_piece(
    sets: dict[str, FeatureSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = NeighbourSettings(whole_sets=True)
    (tmp_path / "whole").mkdir()
    measure_neighbours(sets, tmp_path / "whole", settings, MEMORY)
    for module in (complementarity_and_coverage, neighbours):
        monkeypatch.setattr(module, "_BLOCK", 300)
    measure_neighbours(sets, tmp_path, settings, MEMORY)
    assert read(tmp_path) == read(tmp_path / "whole")
    pieces = parquet.ParquetFile(tmp_path / "neighbours.parquet")
    assert [pieces.metadata.row_group(i).num_rows for i in range(3)] == [300, 300, 100]
    assert pieces.read().equals(parquet.read_table(tmp_path / "whole" / "neighbours.parquet"))


def test_table_and_shares_take_few_bytes_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (complementarity_and_coverage, neighbours):
        monkeypatch.setattr(module, "_BLOCK", 1 << 12)
    count = 200_000
    random = np.random.default_rng(0)
    by_set = {
        name: Neighbours(random.integers(0, 1000, count), random.random(count)) for name in SETS
    }
    rows = {name: np.arange(count) for name in SETS}
    labels = {name: random.integers(0, 10, count).astype(np.uint8) for name in SETS}
    class_names = tuple("0123456789")
    tracemalloc.start()
    try:
        found = SetNeighbours(by_set)
        neighbours._write_table(tmp_path / "table.parquet", found, labels["self"], rows)
        complementarity(found.closest)
        coverage(by_set["self"], count)
        per_class(found, labels, class_names)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * count


def test_an_approximate_search_states_what_it_overlooks(tmp_path: Path) -> None:
    """Held against all pairs in NumPy; six dimensions are kept, so distances are those of PCA."""
    random = np.random.default_rng(0)
    rows = {name: random.standard_normal((3000, 6)).astype(np.float32) for name in SETS}
    rows["self"][:600] = rows["train"][:600]
    rows["self"][600:1000] = rows["self"][2000:2400]
    labels = np.arange(3000) % 2
    sets = {name: make_features(tmp_path / name, rows[name], labels) for name in SETS}
    settings = NeighbourSettings(whole_sets=True, approximate=True, probes=1)
    measure_neighbours(sets, tmp_path, settings, MEMORY)

    checked = stratified_subset(np.zeros(3000, np.uint8), 1000, settings.seed)
    columns = parquet.read_table(tmp_path / "neighbours.parquet")
    table = {name: columns[name].to_numpy()[checked] for name in columns.column_names}
    index, least = {}, {}
    for name in SETS:
        pairs = rows["self"][checked, None].astype(np.float64) - rows[name]
        distances = np.sqrt(np.square(pairs).sum(axis=-1))
        if name == "self":
            distances[np.arange(1000), checked] = np.inf
        index[name], least[name] = distances.argmin(axis=1), distances.min(axis=1)
    shares = complementarity(np.argmin([least[name] for name in SETS], axis=0))

    check: dict[str, dict[str, float]] = read(tmp_path)["approximate"]  # type: ignore[assignment]
    assert check["num_checked"] == 1000
    for name in SETS:
        found = table[f"{name}_distance"]
        assert check["recall"][name] == pytest.approx(np.mean(table[name] == 1000 + index[name]))
        assert 0.2 < check["recall"][name] < 1
        biases = {
            "complementarity_bias": np.mean(table["closest"] == name) - shares[name],
            "copies_bias": np.mean(found == 0) - np.mean(least[name] == 0),
            "distance_bias": np.nanmean(found - least[name]),
        }
        for key, bias in biases.items():
            assert check[key][name] == pytest.approx(bias, abs=1e-6), (key, name)
    assert check["complementarity_bias"]["train"] != 0
    assert min(check["distance_bias"].values()) > 0


def test_copies_of_training_images_are_counted(tmp_path: Path) -> None:
    train, test = (make_set(tmp_path / str(seed), 200, seed) for seed in range(2))
    settings = NeighbourSettings(num_samples=1000)
    measure_neighbours({"train": train, "test": test, "self": train}, tmp_path, settings, MEMORY)
    found = read(tmp_path)
    assert found["complementarity"] == {"train": 1.0, "test": 0.0, "self": 0.0}
    assert found["copies"]["train"] == 1.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"extractor": "inception"},
            r"train has features of labeller \(00000000\), but .*other of inception",
        ),
        ({"weights_sha256": "1" * 64}, r"labeller \(00000000\), .* of labeller \(11111111\)"),
        (
            {"class_names": ("cat", "dog", "owl")},
            "train has 2 classes, but .*other has 3; both need the same classes in the",
        ),
        (
            {"dtype": "float16"},
            "train has float32 features, but .*other float16; run 'pyrobust features' for",
        ),
    ],
)
def test_sets_that_do_not_fit_are_refused(
    given: dict[str, object], message: str, sets: dict[str, FeatureSet], tmp_path: Path
) -> None:
    other = make_set(tmp_path / "other", 50, 9, **given)
    with pytest.raises(UserError, match=message):
        measure_neighbours({**sets, "self": other}, tmp_path, NeighbourSettings(), MEMORY)


def test_a_class_without_images_is_named(sets: dict[str, FeatureSet], tmp_path: Path) -> None:
    cats = make_features(tmp_path / "cats", np.random.default_rng(0).random((20, 6)), np.zeros(20))
    with pytest.raises(
        UserError, match="cats has no images of class 'dog'; extract more images with 'pyrobust"
    ):
        measure_neighbours({**sets, "test": cats}, tmp_path, NeighbourSettings(), MEMORY)


def test_fewer_samples_than_classes_are_refused(
    sets: dict[str, FeatureSet], tmp_path: Path
) -> None:
    with pytest.raises(
        UserError,
        match="num_samples is 1; at least one image for each of the 2 classes is required",
    ):
        measure_neighbours(sets, tmp_path, NeighbourSettings(num_samples=1), MEMORY)


def test_the_verb_writes_the_same(sets: dict[str, FeatureSet], tmp_path: Path) -> None:
    run_verb(
        "neighbours",
        train=sets["train"].path,
        test=sets["test"].path,
        generated=sets["self"].path,
        output=tmp_path / "verb",
        num_samples=100,
        components=3,
    )
    measure_neighbours(sets, tmp_path, NeighbourSettings(num_samples=100, components=3), MEMORY)
    assert read(tmp_path / "verb") == read(tmp_path)
    assert (tmp_path / "verb" / "neighbours.cost.json").is_file()


def test_the_state_of_a_search_is_dropped_when_settings_or_inputs_change(
    sets: dict[str, FeatureSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class States(SearchStates):
        def __init__(self, folder: Path, identity: str) -> None:
            seen.append(identity)
            super().__init__(folder, identity)

    monkeypatch.setattr(neighbours, "SearchStates", States)
    other = make_set(tmp_path / "other", 700, 9)
    for changed in ({}, {}, {"self": other}):
        measure_neighbours({**sets, **changed}, tmp_path, NeighbourSettings(), MEMORY)
    measure_neighbours(sets, tmp_path, NeighbourSettings(components=3), MEMORY)
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize("approximate", [False, True])
def test_shares_of_which_one_is_killed_write_the_bytes_of_one_job(
    approximate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = load_digits()
    rows = {"train": slice(0, 500), "test": slice(500, 800), "self": slice(None)}
    sets = {
        name: make_features(
            tmp_path / name, digits.data[some], digits.target[some], class_names=tuple("0123456789")
        )
        for name, some in rows.items()
    }
    settings = NeighbourSettings(whole_sets=True, components=20, approximate=approximate, probes=2)
    measure = partial(measure_neighbours, sets, settings=settings, memory_bytes=1)
    (tmp_path / "whole").mkdir()
    measure(tmp_path / "whole")

    # 1,797 digits are two blocks of points, and an approximate search shares two of queries.
    monkeypatch.setattr(neighbours, "SearchStates", partial(SearchStates, save_seconds=0))
    block = exact_search.PointBlock

    def killed(points: np.ndarray, start: int, proposer: object) -> object:
        if start:
            raise Killed
        return block(points, start, proposer)  # type: ignore[arg-type]

    output = tmp_path / "shared"
    measure(output, share=Share(3, 4))
    with monkeypatch.context() as patch:
        patch.setattr(exact_search, "PointBlock", killed)
        with pytest.raises(Killed):
            measure(output, share=Share(2, 4))
    starts: list[int] = []
    monkeypatch.setattr(
        exact_search, "PointBlock", lambda points, start, proposer: (
            starts.append(start), block(points, start, proposer))[1]
    )  # fmt: skip
    for number in (2, 1, 4, 3):
        measure(output, share=Share(number, 4))
    # The killed share resumed. The third had nothing left to do, or nothing at all.
    assert starts == ([1024, 0, 1024] if approximate else [1024, 0, 1024, 0, 1024])
    assert not list(output.glob("neighbours*"))
    starts.clear()
    measure(output)
    for name in ("neighbours.json", "neighbours.parquet"):
        assert (output / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (output / "search").exists()

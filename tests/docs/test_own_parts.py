"""The generator and the data set of docs/extending.md, run as the page shows them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import pyrobust
from pyrobust.cli import app
from pyrobust.config import parse_settings
from pyrobust.config.data import DatasetSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.data import Dataset, SampleStore
from pyrobust.data.detect import read_layout
from pyrobust.files import read_json
from pyrobust.generators.registry import generator_class, load_generator
from pyrobust.imports import import_object

PAGE = (Path(__file__).parents[2] / "docs/extending.md").read_text(encoding="utf-8")
BLEND = "my_generators:Blend"


def run(*words: object) -> None:
    app([str(word) for word in words], standalone_mode=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a folder outside of the package with the page's modules, importable."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for name in ("my_data", "my_generators"):
            module = re.search(rf"```python\n# {name}\.py\n(.*?)```", PAGE, re.DOTALL)
            assert module
            assert module[1].count("\n") <= 45
            (folder / f"{name}.py").write_text(module[1])
        words = ("--validation-size", 20, "--test-size", 40, "--no-flip")
        layout = ("--layout", "my_data:read_stripes")
        run("dataset", "stripes", *layout, *words, "--output", folder / "data")
        run("fit-generator", "--type", BLEND, "--dataset", folder / "data", "--output",
            folder / "blend", "--device", "cpu")  # fmt: skip
        yield folder


def test_the_settings_of_the_page_are_settings() -> None:
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    own = {key: value for block in blocks for key, value in block.items()}
    assert parse_settings(GeneratorSettings, own["generators"]["blend"]).type == BLEND
    stripes = next(block for block in blocks if "stripes" in block.get("datasets", {}))
    settings = parse_settings(DatasetSettings, stripes["datasets"]["stripes"])
    assert settings.layout == "my_data:read_stripes"


def test_a_data_set_is_read_by_a_function_of_the_user(folder: Path) -> None:
    dataset = Dataset.open(folder / "data")
    assert (dataset.train.count, dataset.validation.count, dataset.test.count) == (140, 20, 40)
    assert dataset.class_names == ("horizontal", "vertical")
    sources = read_json(folder / "data/dataset.json", "")["sources"]
    assert sources.keys() == {"stripes", "my_data:read_stripes"}
    assert len(sources["my_data:read_stripes"]) == 64


def test_samples_are_means_of_two_training_images_of_their_class(folder: Path) -> None:
    run("sample", "--generator", folder / "blend", "--part", 0, "--part-size", 60, "--output",
        folder / "samples")  # fmt: skip
    store, train = SampleStore.open(folder / "samples"), Dataset.open(folder / "data").train
    code = read_json(folder / "blend/generator.json", "")["own_code"]
    assert len(code) == 64 and store.provenance["own_code"] == code
    images, labels = train.images().astype(int), train.labels()
    assert store.labels().tolist() == [i % 2 for i in range(60)]
    own = images[labels == 1]
    means = np.rint((own[:, None] + own[None]) / 2).reshape(-1, 64)
    sample = store.images()[1].astype(int).reshape(64)
    assert (np.abs(means - sample).max(axis=1) == 0).any()
    again, classes = pyrobust.sample(folder / "blend", 20, first_id=40)
    assert torch.equal(again, torch.from_numpy(store.images()[40:]).permute(0, 3, 1, 2))
    assert classes is not None and classes.tolist() == store.labels()[40:].tolist()


def test_python_fits_the_class_itself(folder: Path, tmp_path: Path) -> None:
    train = Dataset.open(folder / "data").train
    images = torch.from_numpy(train.images()).permute(0, 3, 1, 2)
    output = tmp_path / "blend"
    blend = import_object(BLEND, "generator", "")
    pyrobust.fit_generator(blend, images, train.labels(), output=output, device="cpu")
    assert read_json(output / "generator.json", "")["settings"]["type"] == BLEND
    before = (output / "weights.safetensors").stat().st_mtime_ns
    pyrobust.fit_generator(BLEND, images, train.labels(), output=output, device="cpu")
    assert (output / "weights.safetensors").stat().st_mtime_ns == before


def test_a_generator_whose_code_changed_is_fitted_again(folder: Path, tmp_path: Path) -> None:
    module = folder / "my_generators.py"
    text = module.read_text()
    flags = ("--type", BLEND, "--dataset", folder / "data", "--device", "cpu")
    run("fit-generator", *flags, "--output", tmp_path)
    first = read_json(tmp_path / "generator.json", "")["own_code"]
    try:
        module.write_text(f"{text}\n# another version\n")
        with pytest.raises(pyrobust.UserError, match=r"the source of my_generators:Blend has"):
            load_generator(tmp_path)
        run("fit-generator", *flags, "--output", tmp_path)
        assert read_json(tmp_path / "generator.json", "")["own_code"] != first
        load_generator(tmp_path)
    finally:
        module.write_text(text)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("no_such_module:Blend", "cannot import generator no_such_module:Blend"),
        ("collections:OrderedDict", "is a type; expected a subclass of .*Generator"),
        ("pyrobust.generators.base:BlockGenerator", "does not define fit, read_weights"),
    ],
)
def test_what_is_not_a_generator_is_refused(kind: str, told: str) -> None:
    with pytest.raises(pyrobust.UserError, match=told):
        generator_class(kind)


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        ("no_such_module:read", "cannot import layout no_such_module:read"),
        ("os.path:join", "expected a pyrobust.data.RawDataset"),
    ],
)
def test_what_reads_no_data_set_is_refused(layout: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(pyrobust.UserError, match=told):
        read_layout(layout, tmp_path, "x")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(pyrobust.UserError, match=r"type is 'gan': expected one of gaussian, .*MOD"):
        parse_settings(GeneratorSettings, {"type": "gan"})
    with pytest.raises(pyrobust.UserError, match=r"layout is 'zip': expected one of auto, .*MOD"):
        parse_settings(DatasetSettings, {"layout": "zip"})

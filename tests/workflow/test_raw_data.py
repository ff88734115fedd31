"""Raw files: what is missing is refused at the start, and a change is noticed."""

import os
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pyrobust.config.data import DatasetSettings
from pyrobust.data.prepare import make_dataset
from pyrobust.errors import UserError
from pyrobust.workflow.raw_data import DIGEST, RawSource, check_raw, raw_digest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with two images of flowers."""
    for name in ("train/rose/1.png", "train/tulip/2.png", ".DS_Store"):
        (tmp_path / "flowers" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "flowers" / name).write_bytes(name.encode())
    return tmp_path


def digest(root: Path, name: str = "flowers") -> str:
    return raw_digest(name, RawSource(str(root), None), root / "made/dataset.json")


def test_the_digest_is_of_what_is_read_and_not_of_where_or_when(root: Path) -> None:
    before = digest(root)
    shutil.copytree(root / "flowers", root / "elsewhere/flowers", copy_function=shutil.copyfile)
    os.utime(root / "elsewhere/flowers/train/rose/1.png", (0, 0))
    assert digest(root / "elsewhere") == before
    other = RawSource("nowhere", str(root / "elsewhere/flowers"))
    assert raw_digest("flowers", other, root / "made/dataset.json") == before


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "grown", "replaced"])
def test_a_change_of_the_raw_files_changes_the_digest(root: Path, change: str) -> None:
    before, image = digest(root), root / "flowers/train/rose/1.png"
    match change:
        case "added":
            (root / "flowers/train/rose/3.png").touch()
        case "removed":
            image.unlink()
        case "renamed":
            image.rename(image.with_name("4.png"))
        case "grown":
            image.write_bytes(b"more than there was before")
        case "replaced":  # by as many bytes
            image.write_bytes(image.read_bytes()[::-1])
    assert digest(root) != before


def test_hidden_files_are_not_data(root: Path) -> None:
    before = digest(root)
    (root / "flowers/train/._1.png").write_bytes(b"of macOS")
    assert digest(root) == before


def test_raw_files_may_go_once_the_data_set_is_made(root: Path) -> None:
    before = digest(root)
    (root / "made").mkdir()
    (root / "made" / DIGEST).write_text(before)
    shutil.rmtree(root / "flowers")
    assert digest(root) == before


def test_a_download_changes_nothing(tmp_path: Path) -> None:
    before = digest(tmp_path, "cifar10")
    (tmp_path / "cifar10/cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "cifar10/cifar-10-batches-py/data_batch_1").write_bytes(b"images")
    (tmp_path / "cifar10/cifar-10-python.tar.gz").write_bytes(b"archive")
    assert digest(tmp_path, "cifar10") == before == "published"
    (tmp_path / "cifar10/train.parquet").write_bytes(b"own images")
    assert digest(tmp_path, "cifar10") != before


@pytest.mark.parametrize(
    ("name", "settings", "refused"),
    [
        ("digits", {}, False),
        ("cifar10", {}, False),
        ("mine", {"layout": "digits"}, False),
        ("cifar10", {"layout": "parquet"}, True),
        ("flowers", {}, True),
        ("tinyimagenet", {}, True),
        ("digits", {"path": "no where", "layout": "folder"}, True),
    ],
)
def test_a_data_set_that_cannot_be_made_is_refused(
    tmp_path: Path, name: str, settings: dict[str, str], refused: bool
) -> None:
    given = DatasetSettings.model_validate(settings)
    source, made = RawSource(str(tmp_path), given.path), tmp_path / "made/dataset.json"
    if not refused:
        check_raw(name, given, source, made)
        return
    with pytest.raises(UserError, match=f"no raw files of '{name}'.*data_root"):
        check_raw(name, given, source, made)
    made.parent.mkdir()
    made.touch()
    check_raw(name, given, source, made)


@pytest.mark.parametrize(
    ("settings", "files", "message"),
    [
        ({"test_size": 2}, {}, "validation_size is 1024, but only 4 images of 2 classes"),
        ({"validation_size": 1}, {}, "flowers has no test split; set test_size"),
        ({"test_size": 9, "validation_size": 1}, {}, "test_size is 9, but only 6 images"),
        ({}, {"stray.png": b""}, "is in neither .*/<split>/<class>/ nor"),
        ({}, {"train.npz": b"no archive"}, "rose/0.png is neither an .npz file nor"),
    ],
)
def test_what_dataset_would_refuse_is_refused_at_once(
    settings: dict[str, int], files: dict[str, bytes], message: str, tmp_path: Path
) -> None:
    for name in (f"{kind}/{number}.png" for kind in ("rose", "tulip") for number in range(3)):
        (tmp_path / "flowers" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "flowers" / name)
    for name, content in files.items():
        (tmp_path / "flowers" / name).write_bytes(content)
    given, made = DatasetSettings.model_validate(settings), tmp_path / "made/dataset.json"
    with pytest.raises(UserError, match=message) as at_once:
        check_raw("flowers", given, RawSource(str(tmp_path), None), made)
    with pytest.raises(UserError) as later:
        make_dataset("flowers", tmp_path, tmp_path / "made", given)
    assert str(at_once.value) == str(later.value)
    made.parent.mkdir(exist_ok=True)
    made.touch()  # the data set is there
    check_raw("flowers", given, RawSource(str(tmp_path), None), made)


def test_a_data_set_that_can_be_made_is_accepted_without_hashing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrobust.data.image_folders._digest", None)
    kinds = ("train/a", "train/b", "test/a", "test/b")
    for name in (f"{kind}/{number}.png" for kind in kinds for number in range(2)):
        (tmp_path / "flowers" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / "flowers" / name)
    given = DatasetSettings(validation_size=1)
    check_raw("flowers", given, RawSource(str(tmp_path), None), tmp_path / "made/dataset.json")


def test_paths_survive_the_shell() -> None:
    assert shlex.split(str(RawSource("my data", "é's"))) == [
        *("--data-root", "my data"),
        *("--path", "é's"),
    ]

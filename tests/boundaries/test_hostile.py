"""Files made to harm: refused before their code runs, and before memory or disk is spent."""

import io
import json
import os
import pickle
import resource
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pyrobust.data.store import StoreWriter
from pyrobust.models import ModelSpec, build_model, save_model
from tests.boundaries.odd_images import Odd, encode
from tests.boundaries.oracle import run

PNG = encode(Odd(), np.zeros((4, 4, 3), np.uint8))
SPEC = ModelSpec("wrn-10-1", "silu", 2, (4, 4, 3), (0.5,) * 3, (0.5,) * 3)
DATASET = ("dataset", "animals", "--data-root", "raw", "--output", "out", "--test-size", 2,
           "--validation-size", 2)  # fmt: skip
EVALUATE = ("--images", "images", "--norm", "linf", "--epsilon", "8/255", "--output", "out")


class Runs:
    """Writes a file if it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (os.environ["PROOF"], "w")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with images, a process that may use 2 GB more, and a proof that no code ran."""
    work, proof = tmp_path / "work", tmp_path / "proof"
    monkeypatch.setenv("PROOF", str(proof))
    for label in "ab":
        (work / "images" / label).mkdir(parents=True)
        for number in range(3):
            (work / "images" / label / f"{number}.png").write_bytes(PNG)
    (work / "raw" / "animals").mkdir(parents=True)
    yield work
    assert not proof.exists()


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def legacy(path: Path) -> None:
    torch.save(Runs(), path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.th", "m.pkl", "m.bin"])
@pytest.mark.parametrize(
    "write",
    [
        lambda path: torch.save({"state_dict": Runs()}, path),
        legacy,
        lambda path: path.write_bytes(pickle.dumps(Runs())),
        lambda path: path.write_bytes(pickle.dumps({"G_ema": Runs()}, protocol=0)),
    ],
    ids=["zip", "legacy", "pickle", "old pickle"],
)
def test_no_pickle_runs(name: str, write, folder: Path) -> None:
    write(folder / name)
    assert run(folder, "convert", name, "out.safetensors") is not None
    assert run(folder, "evaluate", "--model", name, *EVALUATE) is not None
    weights = ("--model", "torchvision.models:resnet18", "--weights", name)
    assert run(folder, "evaluate", *weights, *EVALUATE) is not None


def test_no_pickle_in_arrays_runs(folder: Path) -> None:
    objects = np.array([Runs()] * 4, dtype=object)
    np.savez(folder / "raw" / "animals" / "data.npz", image=objects, label=objects)
    assert run(folder, *DATASET) is not None


def npy(shape: tuple[int, ...], dtype: str) -> bytes:
    file = io.BytesIO()
    head = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)
    return file.getvalue()


def write_npz(path: Path, image: bytes, label: bytes, compressed: bool = True) -> None:
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("image.npy", image)
        archive.writestr("label.npy", label)


def test_headers_that_promise_a_trillion_images_are_refused(folder: Path) -> None:
    path, many = folder / "raw" / "animals" / "data.npz", 10**12
    write_npz(path, npy((many, 4, 4, 3), "|u1") + bytes(999), npy((many,), "<i8") + bytes(999))
    why = run(folder, *DATASET)
    assert why is not None and "its header announces" in why
    write_npz(path, npy((many, 0, 4, 3), "|u1"), npy((many,), "|u1"))
    assert run(folder, *DATASET) is not None
    write_npz(path, npy((-3, 4, 4, -3), "|u1"), npy((-3,), "|u1"))
    assert run(folder, *DATASET) is not None


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, path = 400_000, folder / "raw" / "animals" / "data.npz"
    label = npy((count,), "|u1") + bytes([0, 1]) * (count // 2)
    write_npz(path, npy((count, 16, 16, 3), "|u1") + bytes(count * 768), label)
    assert path.stat().st_size < 1_000_000
    usage = os.statvfs(folder)
    free = type("Usage", (), {"free": 10**8, "total": usage.f_blocks, "used": 0})
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    before = peak_mb()
    why = run(folder, *DATASET)
    assert why is not None and "needs 307 MB in out, but only 100 MB are free" in why
    assert peak_mb() - before < 200


def test_a_picture_that_unpacks_to_gigabytes_is_refused(folder: Path) -> None:
    side = 60_000
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(10**6))
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    )
    (folder / "images" / "a" / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    before = peak_mb()
    save_model(folder / "m.safetensors", build_model(SPEC), SPEC)
    why = run(folder, "evaluate", "--model", "m.safetensors", *EVALUATE)
    assert why is not None and "bomb.png cannot be read as an image" in why
    assert peak_mb() - before < 500


def test_a_parquet_file_of_one_repeated_image_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table(
        {
            "image": pa.DictionaryArray.from_arrays(np.zeros(300_000, np.int8), [PNG]),
            "label": pa.array(np.arange(300_000) % 2),
        }
    )
    pq.write_table(table, folder / "raw" / "animals" / "train.parquet")
    free = type("Usage", (), {"free": 10**6, "total": 0, "used": 0})
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    why = run(folder, *DATASET)
    assert why is not None and "with 300,000 images needs" in why


def test_paths_that_climb_out_of_their_folder_are_not_followed(folder: Path) -> None:
    secret = folder / "secret.png"
    secret.write_bytes(PNG)
    tiny = folder / "raw" / "animals" / "tiny-imagenet-200"
    for name in ("n01", "n02"):
        (tiny / "train" / name / "images").mkdir(parents=True)
        for number in range(4):
            (tiny / "train" / name / "images" / f"{number}.JPEG").write_bytes(PNG)
    (tiny / "wnids.txt").write_text("n01\nn02\n")
    (tiny / "words.txt").write_text("n01\tant\nn02\tbee\n")
    (tiny / "val" / "images").mkdir(parents=True)
    (tiny / "val" / "val_annotations.txt").write_text(
        "../../../../../secret.png\tn01\t0\t0\t1\t1\n"
    )
    why = run(folder, "dataset", "animals", "--data-root", "raw", "--output", "out",
              "--validation-size", 2)  # fmt: skip
    assert why is not None and "val/images/secret.png cannot be read" in why


def test_a_manifest_that_promises_more_than_its_files_is_refused(folder: Path) -> None:
    writer = StoreWriter(folder / "store", (4, 4, 3), ("a", "b"), 4, {}, made_by="it")
    writer.append(np.zeros((4, 4, 4, 3), np.uint8), np.arange(4) % 2)
    writer.finish()
    path = folder / "store" / "manifest.json"
    manifest = json.loads(path.read_text())
    for change in (
        {"count": 10**12, "shards": [{**manifest["shards"][0], "count": 10**12}]},
        {"image_shape": [10**6, 10**6, 3]},
        {"shards": []},
        {"shards": [{}]},
        {"class_names": 3},
        {"version": None},
    ):
        path.write_text(json.dumps({**manifest, **change}))
        assert run(folder, "info", "store") is not None, change
        assert run(folder, "export", "store", "--output", "out.npz") is not None, change


def test_tensors_that_promise_more_than_the_file_are_refused(folder: Path) -> None:
    head = json.dumps({"logits.weight": {
        "dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}})  # fmt: skip
    content = struct.pack("<Q", len(head)) + head.encode() + bytes(64)
    for name in ("m.safetensors", "huge.safetensors"):
        (folder / name).write_bytes(content)
        content = struct.pack("<Q", 10**15) + head.encode()
    for name in ("m.safetensors", "huge.safetensors"):
        assert run(folder, "convert", name, "m.pt") is not None
        assert run(folder, "evaluate", "--model", name, *EVALUATE) is not None

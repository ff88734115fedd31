"""Readers of foreign bytes, fed with flipped and truncated files: a result or one sentence."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from pyrobust.data.npz import read_npz
from pyrobust.data.parquet import read_parquet
from pyrobust.data.raw import RawDataset, decode_image
from pyrobust.data.store import SampleStore, StoreWriter
from pyrobust.errors import UserError
from pyrobust.evaluation.model_sources import ModelSource, open_model
from pyrobust.generators.network_pickle import read_network_pickle
from pyrobust.models import ModelSpec, build_model, load_model, save_model
from pyrobust.models.checkpoints import read_checkpoint, write_checkpoint
from tests.boundaries.odd_images import Odd, encode

# Of each reader; all of them together take twenty.
SECONDS = 1.5
SPEC = ModelSpec("wrn-10-1", "silu", 3, (8, 8, 1), (0.3,), (0.4,))
IMAGE = torch.full((1, 1, 4, 4), 0.5)


def whole(raw: RawDataset) -> None:
    """Read everything of a data set."""
    for split in (raw.train, raw.test):
        if split is not None:
            list(split.read(np.arange(min(len(split.labels), 100))))


def parquet(path: Path) -> None:
    images = [encode(Odd(), np.full((4, 4, 3), k, np.uint8)) for k in range(8)]
    table = pa.table({"image": images, "label": [0, 1] * 4})
    pq.write_table(table, path, write_page_checksum=True)


def npz(path: Path) -> None:
    np.savez_compressed(path, image=np.zeros((8, 4, 4, 3), np.uint8), label=np.arange(8) % 2)


def checkpoint(path: Path) -> None:
    write_checkpoint(path, build_model(SPEC), SPEC)


def legacy(path: Path) -> None:
    state = nn.Linear(2, 2).state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=False)


def safetensors(path: Path) -> None:
    save_model(path, build_model(SPEC), SPEC)


def scripted(path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    torch.jit.trace(network, torch.rand(2, 1, 4, 4)).save(path)


def store(path: Path) -> None:
    writer = StoreWriter(path.parent, (2, 2, 1), ("a", "b"), 4, {}, made_by="it")
    writer.append(np.zeros((4, 2, 2, 1), np.uint8), np.arange(4) % 2)
    writer.finish()


def picture(kind: str) -> Callable[[Path], None]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    return lambda path: path.write_bytes(encode(Odd(kind=kind), pixels)) and None


def image(path: Path) -> None:
    decode_image(path.read_bytes(), str(path))


READERS: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], object]]] = {
    "parquet": ("train.parquet", parquet, lambda path: whole(read_parquet(path.parent, "x"))),
    "npz": ("train.npz", npz, lambda path: whole(read_npz(path.parent, "x"))),
    "checkpoint": ("model.pt", checkpoint, read_checkpoint),
    "legacy checkpoint": ("model.pt", legacy, read_checkpoint),
    "safetensors": ("model.safetensors", safetensors, load_model),
    "pickle": ("model.pkl", legacy, read_network_pickle),
    "manifest": ("manifest.json", store, lambda path: SampleStore.open(path.parent).labels()),
    **{
        kind: (f"image.{kind.lower()}", picture(kind), image)
        for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")
    },
}


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Return bytes with a few flips, a cut, a repeated piece or a piece of zeros."""
    changed = bytearray(data)
    for _ in range(draw.choice((0, 1, 1, 2, 8))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    first, length = draw.randrange(len(changed)), draw.randrange(1, 64)
    match draw.randrange(5):
        case 0:
            return bytes(changed[:first])
        case 1:
            changed[first : first + length] = bytes(length)
        case 2:
            changed[first:first] = changed[first : first + length]
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes_are_read_or_refused(name: str, tmp_path: Path) -> None:
    file, write, read = READERS[name]
    path = tmp_path / file
    write(path)
    data, draw, refused = path.read_bytes(), random.Random(0), 0
    if name != "pickle":  # of a state dict, which is no pickle of networks
        read(path)
    ends = time.monotonic() + SECONDS
    count = 0
    while time.monotonic() < ends:
        path.write_bytes(damaged(data, draw))
        count += 1
        try:
            read(path)
        except UserError as error:
            refused += 1
            assert str(error)
    assert refused, count


def test_a_damaged_script_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    scripted(path)
    data, draw = path.read_bytes(), random.Random(0)
    for _ in range(10):
        path.write_bytes(damaged(data, draw)[: len(data) - 200])
        with pytest.raises(UserError):
            open_model(ModelSource(str(path)), IMAGE, 4, None)


def test_a_column_whose_name_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    parquet(path)
    path.write_bytes(path.read_bytes().replace(b"label", b"l\xe7bel"))
    with pytest.raises(UserError, match=r"train\.parquet is damaged"):
        read_parquet(tmp_path, "x")

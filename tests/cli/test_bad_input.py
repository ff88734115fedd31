"""Bad input at the command line: one sentence, exit 2, and nothing left behind."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pyrobust.cli import main
from pyrobust.models import ModelSpec, build_model, save_model

DIGITS = "--layout digits --test-size 500 --validation-size 200"
ATTACK = "--dataset digits --norm linf --epsilon 32/255 --output out"
TRAIN = "--dataset digits --architecture wrn-10-1 --epochs 0.1 --norm linf --output out"


def run(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run one command line in `folder` and return its exit status."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["pyrobust", *command.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 1


def tree(folder: Path) -> dict[str, int]:
    """Return every path below `folder` with its size."""
    return {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, models and broken files."""
    folder = tmp_path_factory.mktemp("bad_input")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run(f"dataset digits {DIGITS} --output digits", folder, monkeypatch) == 0
        assert run(f"dataset digits {DIGITS} --output flipped", folder, monkeypatch) == 0
    shard = next((folder / "flipped/train").glob("images-*.npy"))
    data = bytearray(shard.read_bytes())
    data[-7] ^= 1
    shard.write_bytes(data)

    spec = ModelSpec("wrn-10-1", "silu", 10, (8, 8, 1), (0.3,), (0.3,))
    save_model(folder / "model.safetensors", build_model(spec), spec)
    rgb = ModelSpec("wrn-10-1", "silu", 10, (32, 32, 3), (0.5,) * 3, (0.5,) * 3)
    save_model(folder / "rgb.safetensors", build_model(rgb), rgb)
    claimed = ModelSpec("resnet-18", "silu", 10, (8, 8, 1), (0.3,), (0.3,))
    save_model(folder / "claimed.safetensors", build_model(spec).state_dict(), claimed)
    state = build_model(spec).state_dict()
    torch.save(state, folder / "wrn-10-1.pt")
    extra = {**build_model(rgb).state_dict(), "extra.weight": torch.zeros(1)}
    torch.save(extra, folder / "extra.pt")
    torch.save(build_model(spec), folder / "whole_module.pt")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "torn.safetensors").write_bytes(whole[: len(whole) // 2])

    raw = folder / "raw/cifar10"
    raw.mkdir(parents=True)
    table = pa.table({"image": [b"no image"] * 8, "label": [0] * 8})
    pq.write_table(table, raw / "train.parquet")
    pq.write_table(table, raw / "test.parquet")
    torn = folder / "torn/cifar10"
    torn.mkdir(parents=True)
    for name in ("train.parquet", "test.parquet"):
        (torn / name).write_bytes((raw / name).read_bytes()[:-20])
    np.savez(folder / "wrong_type.npz", image=np.zeros((4, 8, 8, 1)), label=np.zeros(4, np.int64))
    (folder / "file").write_text("where a folder should be")
    return folder


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("dataset cifar11 --output out", "cifar11"),
        ("dataset digits --layout tarball --output out", "'tarball'.*parquet"),
        ("dataset cifar10 --data-root torn --output out", "torn/cifar10/.*parquet"),
        ("dataset cifar10 --data-root raw --output out", "raw/cifar10/.*parquet"),
        (f"dataset digits {DIGITS} --output file/out", "cannot write file/out"),
        (f"train {TRAIN} --epsilon 300/255", "epsilon.*300/255"),
        (f"train {TRAIN} --epsilon=-1/255", "epsilon.*-1/255"),
        (f"train {TRAIN} --epsilon nan", "epsilon.*nan"),
        (f"train {TRAIN} --epsilon 8/255 --mixing-factor 1.5", "mixing_factor.*1.5"),
        (f"train {TRAIN} --epsilon 8/255 --mixing-factor 0.5", "samples"),
        (f"train {TRAIN} --epsilon 8/255 --mixing-factor 1 --architecture wrn-11-1", "wrn-11-1"),
        (f"train {TRAIN} --epsilon 8/255 --mixing-factor 1 --batch-size 0", "batch_size.*0"),
        (f"train {TRAIN} --epsilon 8/255 --mixing-factor 1 --dataset nowhere", "nowhere"),
        (f"train {TRAIN} --epsilon 8/255 --mixing-factor 1 --dataset flipped", "flipped/train"),
        (f"evaluate --model rgb.safetensors {ATTACK}", r"32.*8"),
        (f"evaluate --model torn.safetensors {ATTACK}", "torn.safetensors"),
        (f"evaluate --model nothing.safetensors {ATTACK}", "nothing.safetensors"),
        (f"evaluate --model model.safetensors {ATTACK} --norm l3", "norm.*l3"),
        (f"evaluate --model claimed.safetensors {ATTACK}", "claimed.safetensors.*missing"),
        (f"evaluate --model torchvision.models:resnet18 --weights wrn-10-1.pt {ATTACK}",
         "wrn-10-1.pt.*missing"),
        ("convert whole_module.pt out.safetensors --dataset cifar10", "whole_module.pt"),
        ("convert extra.pt out.safetensors --dataset cifar10", "extra.weight"),
        ("fit-generator --dataset digits --type imported --output out", "imported requires path"),
        ("info nowhere", "nowhere"),
        ("info flipped --verify", "flipped/train"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_nothing(
    folder: Path,
    command: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = tree(folder)
    status = run(command, folder, monkeypatch)
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2, lines
    assert len(lines) == 1 and re.match(rf"pyrobust: .*{said}", lines[0]), lines
    assert tree(folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o555)
    assert run(f"dataset digits {DIGITS} --output out", tmp_path, monkeypatch) == 2
    assert "cannot write out" in capsys.readouterr().err

"""Network pickles: tensors come out bit by bit, and nothing that a file brings is run."""

import io
import os
import pickle
import pickletools
import subprocess
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pyrobust.errors import UserError
from pyrobust.generators import network_pickle
from pyrobust.generators.network_pickle import read_network_pickle
from tests.generators.network_pickles import EasyDict, write_network_pickle


def small_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    network.register_buffer("w_avg", torch.randn(4).half())
    network.register_buffer("transposed", torch.randn(2, 5).T)
    return network


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_all_tensors_come_out(protocol: int, tmp_path: Path) -> None:
    network = small_network()
    options = EasyDict(size=np.arange(6.0).reshape(2, 3), gamma=np.float32(0.01), names={"a"})
    path = write_network_pickle(
        tmp_path / "net.pkl", protocol, G_ema=network, D=nn.Linear(2, 1), options=options
    )
    networks = read_network_pickle(path)
    assert list(networks) == ["G_ema", "D"]
    state = network.state_dict()
    assert networks["G_ema"].keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(networks["G_ema"][name], value), name
        assert networks["G_ema"][name].dtype == value.dtype


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


HOSTILE = {
    "os.system": lambda mark: Calls(os.system, f"touch {mark}"),
    "subprocess": lambda mark: Calls(subprocess.Popen, ["touch", str(mark)]),
    "eval": lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')"),
    "exec": lambda mark: Calls(exec, f"open({str(mark)!r}, 'w')"),
    "open": lambda mark: Calls(open, str(mark), "w"),
    "getattr": lambda mark: Calls(getattr, "x", "__class__"),
    "chain": lambda mark: Calls(list, Calls(map, os.system, [f"touch {mark}"])),
    "full unpickler": lambda mark: Calls(pickle.loads, pickle.dumps(Calls(os.system, str(mark)))),
    "torch.load": lambda mark: Calls(torch.load, str(mark)),
    "nested": lambda mark: {"G_ema": OrderedDict(a=[{"b": (Calls(os.system, f"touch {mark}"),)}])},
}  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_and_runs_nothing(
    name: str, protocol: int, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(HOSTILE[name](mark), protocol=protocol))
    with pytest.raises(
        UserError,
        match=r"net\.pkl asks for .*, which is not allowed .*; nothing in the file was run",
    ):
        read_network_pickle(path)
    assert not mark.exists()


def test_the_refusal_names_what_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "net.pkl"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(
        UserError,
        match=r"net\.pkl asks for os\.system, which is not allowed in a pickle of networks",
    ):
        read_network_pickle(path)
    # By way of an attribute of something that is on the list.
    path.write_bytes(b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.")
    with pytest.raises(UserError, match=r"asks for collections\.OrderedDict\.fromkeys"):
        read_network_pickle(path)


def test_a_storage_that_would_run_code_is_refused(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "net.pkl"
    inner = io.BytesIO()
    torch.save(Calls(os.system, f"touch {mark}"), inner, _use_new_zipfile_serialization=False)
    path.write_bytes(pickle.dumps(Calls(torch.storage._load_from_bytes, inner.getvalue())))
    with pytest.raises(UserError, match=r"net\.pkl is not a complete pickle of networks"):
        read_network_pickle(path)
    assert not mark.exists()


def assembled(*parts: bytes) -> bytes:
    data = b"".join(parts)
    list(pickletools.genops(data))  # each is a well-formed pickle
    return data


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
BROKEN = {
    "state for a stand-in": assembled(REBUILD, b"}b."),
    "a stand-in's attribute": assembled(REBUILD, b"(}}S'value'\nS'x'\nstb."),
    "a persistent id": assembled(b"Pstorage\n."),
    "an array of objects": assembled(b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR."),
    "cut off": assembled(REBUILD, b"(.")[:-2],
    "another encoding": assembled(b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR."),
    "a web page": b"<html>moved</html>",
    "empty": b"",
    "no network": pickle.dumps({"G_ema": {"a": 1}}),
    "a list": pickle.dumps([1, 2]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_a_network_pickle_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pkl"
    path.write_bytes(BROKEN[name])
    with pytest.raises(UserError, match=r"net\.pkl (is not a complete|contains no|refers to)"):
        read_network_pickle(path)
    rebuild = network_pickle._STAND_INS["torch._utils", "_rebuild_tensor_v2"]
    assert callable(rebuild.value)


@pytest.mark.parametrize(("size", "offset"), [((9,), 0), ((2,), 7), ((-1,), 0)])
def test_a_tensor_beyond_its_storage_is_refused(
    size: tuple[int], offset: int, tmp_path: Path
) -> None:
    storage = torch.arange(8.0)._typed_storage()
    call = Calls(torch._utils._rebuild_tensor_v2, storage, offset, size, (1,), False, OrderedDict())
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(call))
    with pytest.raises(UserError, match=r"net\.pkl is not a complete pickle of networks"):
        read_network_pickle(tmp_path / "net.pkl")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"net\.pkl is missing"):
        read_network_pickle(tmp_path / "net.pkl")

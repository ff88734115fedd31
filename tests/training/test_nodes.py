"""How processes are laid out on nodes; tests/slurm/test_nodes.py trains on two."""

import sys
from pathlib import Path

import pytest

from pyrobust.errors import UserError
from pyrobust.training.data_parallel import run_processes
from pyrobust.training.nodes import Layout, reported_status, run_nodes


@pytest.mark.parametrize(("text", "nodes", "per_node"), [("8", 1, 8), ("2x8", 2, 8), ("3x1", 3, 1)])
def test_a_layout_is_spelled_as_a_number_or_as_nodes_times_processes(
    text: str, nodes: int, per_node: int
) -> None:
    layout = Layout.parse(text)
    assert layout == Layout(nodes, per_node)
    assert layout.world_size == nodes * per_node


@pytest.mark.parametrize("text", ["0", "0x2", "2x", "x2", "2x0", "-1", "2x2x2", "two", ""])
def test_other_layouts_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"processes is '{text}', expected a number such as 8, or"):
        Layout.parse(text)


@pytest.mark.parametrize(
    ("variables", "where"),
    [({}, "this is not one"), ({"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"}, "within a step")],
)
def test_several_nodes_need_a_batch_script(
    variables: dict[str, str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{where}.*sbatch --nodes=2"):
        run_nodes(["true"], 2)


@pytest.mark.parametrize(
    ("statuses", "expected", "reported"),
    [("0 0", 0, False), ("75 0", 75, False), ("2 2", 2, False), ("0 137", 137, True)],
)
def test_a_step_runs_the_command_on_each_node_and_a_failed_node_is_reported(
    statuses: str,
    expected: int,
    reported: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    srun = tmp_path / "srun"
    srun.write_text(
        f'#!/bin/sh\nfor word; do case "$word" in -*) shift ;; *) break ;; esac; done\n'
        f"worst=0 node=0\nfor status in {statuses}; do\n"
        '  SLURM_PROCID=$node "$@" $status; ended=$?; node=$((node + 1))\n'
        "  [ $ended -gt $worst ] && worst=$ended\ndone\nexit $worst\n"
    )
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.delenv("SLURM_STEP_ID", raising=False)
    code = (
        "import os, sys; e = os.environ; print(e['SLURM_PROCID'], e['GROUP_WORLD_SIZE'],"
        " bool(e['MASTER_ADDR'] and e['MASTER_PORT'])); sys.exit(int(sys.argv[1]))"
    )
    assert run_nodes([sys.executable, "-c", code], 2) == expected
    out, err = capfd.readouterr()
    assert out.splitlines() == ["0 2 True", "1 2 True"]
    assert ("a node or a process of the training failed" in err) is reported


@pytest.mark.parametrize(
    ("node", "status", "reported"), [(0, 75, 75), (1, 75, 0), (0, 2, 2), (1, 2, 2), (1, 0, 0)]
)
def test_the_first_node_alone_says_that_the_state_is_saved(
    node: int, status: int, reported: int
) -> None:
    assert reported_status(node, status, grace=0) == reported


def test_ranks_continue_from_node_to_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MASTER_ADDR", "first")
    monkeypatch.setenv("MASTER_PORT", "1234")
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    code = (
        f"import os, sys; text = ' '.join(os.environ[name] for name in {names});"
        "open(f'{sys.argv[1]}/{os.environ[\"RANK\"]}', 'w').write(text)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert run_processes(command, 2, first_rank=2, world_size=4) == 0
    assert [file.read_text() for file in sorted(tmp_path.iterdir())] == [
        "2 0 4 first 1234",
        "3 1 4 first 1234",
    ]

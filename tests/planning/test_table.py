from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from pyrobust.cli import app
from pyrobust.errors import UserError
from pyrobust.planning.rates import RATES, read_machines

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config/config.yaml"


def run_info(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    app(["info", "--config", str(CONFIG), *options], standalone_mode=False)
    return capsys.readouterr().out


def test_every_rate_says_when_it_was_measured_or_that_it_was_not() -> None:
    for machine in read_machines().values():
        for rate in machine.rates.values():
            guessed = rate.source.startswith(("assumed", "estimated"))
            assert guessed == (rate.measured is None), rate


def test_every_experiment_of_the_config_has_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    for name in yaml.safe_load(CONFIG.read_text())["experiments"]:
        assert "total" in run_info(capsys, "--plan", name, "--machine", "h100")


def test_a_plan_states_hours_bytes_and_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--plan", "cifar10_linf", "--machine", "h100", "--devices", "16")
    lines = run_info(capsys, *options).splitlines()
    assert (
        lines[0]
        == "cifar10_linf on one NVIDIA H100 (80 GB) and 2 CPU cores, all stages from scratch"
    )
    assert lines[1].split() == ["stage", "jobs", "images", "hours", "on", "16", "disk", "rate"]
    (train,) = (line for line in lines if line.startswith("train "))
    assert train.split()[1:3] == ["2", "39,999,488"]
    assert train.endswith("not measured")
    assert any("1e+14 FLOP/s, not measured: assumed" in line for line in lines)


def test_a_table_or_figure_has_a_plan(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    grid = "{experiment: [cifar10_linf], training.trades_beta: [5, 6, 7]}"
    overlay.write_text(f"targets: {{mine: {{title: Mine, show: accuracies, grid: {grid}}}}}")
    options = ("--machine", "h100", "--config", str(overlay))
    alone = run_info(capsys, *options, "--plan", "cifar10_linf").splitlines()
    (train,) = (line.split() for line in alone if line.startswith("train "))
    (line,) = run_info(capsys, *options, "--plan", "mine").splitlines()
    assert line.startswith("mine on one NVIDIA H100 (80 GB) and 2 CPU cores: 3 models, ")
    training = float(line.split("3 models, ")[1].split(" h of training")[0])
    assert training == pytest.approx(3 * float(train[3]), rel=0.01)
    overlay.write_text("targets: {mine: {title: Mine, show: accuracies, sweep: nowhere}}")
    with pytest.raises(UserError, match="nowhere"):
        run_info(capsys, *options, "--plan", "mine")


@pytest.mark.parametrize(("free", "is_told"), [(10**9, True), (10**15, False)])
def test_a_disk_that_is_too_small_for_all_stages_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, free: int, is_told: bool
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    text = run_info(capsys, "--plan", "cifar10_linf", "--machine", "h100")
    assert ("The disk has 1 GB free, but all stages need" in text) == is_told


def test_own_rates_take_the_place_of_the_shipped_ones(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rates = tmp_path / "rates.toml"
    text = RATES.read_text().replace("value = 71e9", "value = 71e8")
    rates.write_text(text.replace("[two-cores", "[mine").replace('"two-cores"', '"mine"'))
    slow = run_info(capsys, "--plan", "cifar10_linf", "--machine", "mine", "--rates", str(rates))
    assert "7.1e+09 FLOP/s, measured" in slow


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--plan", "nothing"], "unknown experiment 'nothing'; choose one from .*: digits_linf"),
        (["--plan", "digits_linf", "--machine", "abacus"], "machine is 'abacus', expected one of"),
        (["--plan", "digits_linf", "--rates", "none.toml"], "none.toml is not a valid rates file"),
        (
            ["--plan", "digits_linf", "--config", "none.yaml"],
            "cannot read none.yaml: there is no such file",
        ),
        (["--plan", "digits_linf", "folder"], "info needs either a folder or --plan EXPERIMENT"),
        ([], "either a folder or --plan EXPERIMENT; give exactly one"),
    ],
)
def test_what_cannot_be_known_is_refused(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_info(capsys, *options)


def test_an_unknown_data_set_must_be_made_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    values = yaml.safe_load(CONFIG.read_text())
    values["datasets"]["flowers"] = {"image_size": 32}
    values["experiments"]["digits_ddpm"] |= {"dataset": "flowers", "baseline": None}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    options = ["--plan", "digits_ddpm", "--config", str(tmp_path / "config.yaml")]
    with pytest.raises(UserError, match=r"the size of the data set 'flowers' is unknown .* 'snake"):
        run_info(capsys, *options)


def test_every_job_of_the_shipped_experiments_fits_into_the_shipped_profile(
    capsys: pytest.CaptureFixture[str],
) -> None:
    profile = ("--machine", "h100", "--profile", str(ROOT / "profiles/slurm"))
    for name in yaml.safe_load(CONFIG.read_text())["experiments"]:
        assert "Every job fits into" in run_info(capsys, "--plan", name, *profile), name


def test_a_job_that_a_profile_ends_too_early_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "profile.v9+.yaml").write_text(
        "retries: 2\nset-resources: {train_robust: {runtime: 60}}\n"
    )
    options = ("--plan", "cifar10_linf", "--machine", "h100", "--profile", str(tmp_path))
    text = run_info(capsys, *options)
    assert "A job of train takes" in text and "allows 3 attempts of 1.0 h" in text
    assert "Every job fits" not in text


def test_overlays_are_planned_as_the_workflow_reads_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "overlay.yaml").write_text("experiments: {cifar10_linf: {seeds: [0, 1, 2, 3]}}")
    overlay = ("--config", str(tmp_path / "overlay.yaml"))
    text = run_info(capsys, "--plan", "cifar10_linf", "--machine", "h100", *overlay)
    (train,) = (line for line in text.splitlines() if line.startswith("train "))
    assert train.split()[1] == "4"

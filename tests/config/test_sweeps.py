"""Sweeps: which experiments the points of a table are."""

from pathlib import Path
from typing import Any

import pytest

from pyrobust.config.base import parse_settings
from pyrobust.config.experiment import Config, parse_config, read_config
from pyrobust.config.sweep_rows import read_sweep
from pyrobust.config.sweeps import Sweeps, resolve_targets
from pyrobust.errors import UserError
from pyrobust.reporting.effects import MIN_RUNS

ROOT = Path(__file__).parents[2]

CONFIG: dict[str, Any] = {
    "datasets": {"digits": {}},
    "labellers": {"big": {}, "small": {"epochs": 1}},
    "generators": {"gaussian": {}, "blurred": {"jitter": 0.1}},
    "selections": {"until_full": {}, "unseen": {"skip_samples": 10}},
    "evaluations": {"aa_mt": {}, "strong": {"autoattack": True}},
    "analyses": {"labeller": {}},
    "mixtures": {"both": {"first": "gaussian", "second": "blurred", "share": 0.1},
                 "lost": {"first": "gaussian", "second": "biggan", "share": 0.1}},
    "experiments": {
        "base": {"dataset": "digits", "norm": "linf", "epsilon": "8/255", "labeller": "big"},
        "plain": {"dataset": "digits", "norm": "linf", "epsilon": "8/255", "labeller": "big",
                  "mixing_factor": 1, "generator": "blurred"},
    },
}  # fmt: skip


def resolve(folder: Path, **tables: str) -> Sweeps:
    """Return the targets whose tables are given, with | in place of tabs."""
    for name, text in tables.items():
        (folder / f"{name}.tsv").write_text(text.replace("|", "\t"))
    target = {"title": "", "show": "accuracies"}
    config = {**CONFIG, "targets": dict.fromkeys(tables, target)}
    return resolve_targets(parse_settings(Config, config).model_dump(mode="json"), folder)


def names(sweeps: Sweeps, target: str = "t") -> list[str]:
    assert not sweeps.refused, sweeps.refused
    return [point["experiment"] for point in sweeps.points[target]]


@pytest.mark.parametrize(
    ("table", "experiments"),
    [
        ("experiment|mixing_factor\nbase|0.3", ["base"]),
        ("experiment|mixing_factor\nbase|0.5", ["base-mixing_factor-0-5"]),
        ("experiment|generator\nbase|blurred", ["base-blurred"]),
        ("experiment|seeds\nbase|3,4", ["base-seeds-3-4"]),
        ("experiment|training.epochs\nbase|2000\nbase|400", ["base-epochs-2000", "base"]),
        # Without generated images, where they would come from is of no matter.
        ("experiment|mixing_factor|generator\nbase|1|\nbase|1|blurred", ["plain", "plain"]),
        # How a model is evaluated makes no other model of it.
        ("experiment|evaluation\nbase|strong\nbase|aa_mt", ["base", "base"]),
        ("# a remark\nexperiment|labeller\nbase|small\nbase|", ["base-small", "base"]),
        ("experiment|generator\nbase|both", ["base-both"]),
    ],
)
def test_points_with_equal_settings_are_one_experiment(
    tmp_path: Path, table: str, experiments: list[str]
) -> None:
    assert names(resolve(tmp_path, t=table)) == experiments


def test_cells_become_settings_and_empty_ones_leave_those_of_the_experiment(tmp_path: Path) -> None:
    table = "experiment|mixing_factor|training.trades_beta|name\nbase|0.5|5|mine\nbase||5|"
    sweeps = resolve(tmp_path, t=table)
    first, second = sweeps.points["t"]
    assert (first["name"], second["name"]) == ("mine", None)
    assert first["settings"]["mixing_factor"] == 0.5
    assert second["settings"]["mixing_factor"] == 0.3
    assert first["settings"]["training"] == {"trades_beta": 5.0}
    assert set(sweeps.experiments) == {first["experiment"], second["experiment"]}


def test_the_share_of_samples_like_those_tested_on_is_known_without_a_mixture_too(
    tmp_path: Path,
) -> None:
    rows = "base|both|blurred\nbase|blurred|blurred\nbase|gaussian|blurred\nbase|gaussian|"
    table = "experiment|generator|tested_on|test_selection|test_samples\n" + "\n".join(
        row + ("|unseen|10" if row.endswith("blurred") else "||") for row in rows.split("\n")
    )
    points = resolve(tmp_path, t=table).points["t"]
    assert [point["mixture_share"] for point in points] == [0.1, 1.0, 0.0, None]


def test_tables_share_their_points(tmp_path: Path) -> None:
    head = "experiment|mixing_factor\n"
    sweeps = resolve(tmp_path, one=head + "base|0.5\nbase|0.7", two=head + "base|0.7\nbase|0.9")
    assert len(sweeps.experiments) == 3
    assert set(names(sweeps, "one")) & set(names(sweeps, "two")) == {"base-mixing_factor-0-7"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            "experiment|generator\nbase|ddpm",
            ["line 2", "unknown generator 'ddpm'", "gaussian, blurred"],
        ),
        (
            "experiment|generator\nbase|lost",
            ["mixture 'lost' has the unknown generator 'biggan' (second)"],
        ),
        ("experiment\nbasis", ["line 2", "unknown experiment 'basis'"]),
        ("experiment|mixing_factor\nbase|1.5", ["line 2", "mixing_factor", "1.5"]),
        ("experiment|colour\nbase|red", ["unknown setting 'colour'"]),
        ("experiment|training.epohcs\nbase|3", ["unknown setting 'epohcs'"]),
        ("experiment|epsilon\nbase", ["line 2: 1 cells, but the header has 2"]),
        ("experiment|tested_on\nbase|gaussian", ["requires test_selection"]),
        ("experiment|augmentation\nbase|mixup", ["requires a target with 'show: neighbours'"]),
        ("experiment", ["has no rows"]),
        ("experiment|mixing_factor\nbase|half", ["line 2", "mixing_factor is 'half'"]),
        (
            "experiment|mixing_factor|mixing_factor\nbase|0.5|0.6",
            ["duplicate column 'mixing_factor'"],
        ),
        ("experiment|training.seed\nbase|3", ["line 2: training.seed is not allowed; set seeds"]),
        (
            "experiment|tested_on|test_selection|test_samples\nbase|gaussian|unseen|few",
            ["test_samples is 'few'"],
        ),
    ],
)
def test_a_wrong_table_refuses_its_own_target_in_one_sentence(
    tmp_path: Path, table: str, words: list[str]
) -> None:
    sweeps = resolve(tmp_path, wrong=table, right="experiment\nbase")
    assert set(sweeps.points) == {"right"}
    assert all(word in sweeps.refused["wrong"] for word in words), sweeps.refused


CURVES = {"title": "", "show": "curves"}


@pytest.mark.parametrize(
    ("x", "table"),
    [
        ("training.trades_beta", "experiment|training.trades_beta\nbase|5\nbase|"),
        ("training.epochs", "experiment\nbase"),  # the recipe's
        ("epsilon", "experiment|epsilon\nbase|16/255\nbase|0.03"),
        ("num_samples", "experiment\nbase"),
        ("mixture_share", "experiment|generator\nbase|both"),
        ("name", "experiment|name\nbase|0.25"),
        ("labeller_accuracy", "experiment\nbase"),
    ],
)
def test_a_column_of_numbers_can_be_the_x_axis(tmp_path: Path, x: str, table: str) -> None:
    (tmp_path / "t.tsv").write_text(table.replace("|", "\t"))
    config = {**CONFIG, "targets": {"t": {**CURVES, "x": x, "series": ["training.trades_beta"]}}}
    sweeps = resolve_targets(parse_settings(Config, config).model_dump(mode="json"), tmp_path)
    assert not sweeps.refused


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ("architecture", "it is 'wrn-28-10' at the point 'base'; it must be a number"),
        ("mixture_classes", "it is None at the point 'base'; it must be a number"),
        ("seeds", "it is [0, 1] at the point 'base'; it must be a number"),
        ("name", "it is '1/0' at the point '1/0'; it must be a number"),
        ("training.epohcs", "has no column 'training.epohcs'"),
        ("training.epsilon", "has no column 'training.epsilon'"),
    ],
)
def test_an_x_axis_that_is_not_a_number_is_refused_before_anything_is_trained(
    tmp_path: Path, x: str, words: str
) -> None:
    name = "1/0" if x == "name" else ""
    (tmp_path / "t.tsv").write_text(f"experiment\tname\nbase\t{name}")
    config = {**CONFIG, "targets": {"t": {**CURVES, "x": x}}}
    sweeps = resolve_targets(parse_settings(Config, config).model_dump(mode="json"), tmp_path)
    assert not sweeps.points
    assert words in sweeps.refused["t"]


def test_quotes_are_letters_and_a_byte_order_mark_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text('\ufeffexperiment\tname\nbase\t"half\nbase\té ∞')
    assert read_sweep(tmp_path / "t.tsv") == [
        (2, {"experiment": "base", "name": '"half'}),
        (3, {"experiment": "base", "name": "é ∞"}),
    ]


def test_a_table_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes(b"experiment\n\xff\xfe")
    with pytest.raises(UserError, match=r"t\.tsv is not UTF-8 text .*; save it as UTF-8"):
        read_sweep(tmp_path / "t.tsv")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the sweep .*nothing.tsv: No such file"):
        read_sweep(tmp_path / "nothing.tsv")


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    """Return the shipped configuration with all defaults."""
    files = [ROOT / "config/config.yaml", ROOT / "config/targets.yaml"]
    return read_config(files).model_dump(mode="json")


def test_every_target_of_the_paper_has_a_smoke_twin(shipped: dict[str, Any]) -> None:
    targets = {name for name in shipped["targets"] if not name.endswith(("_smoke", "_small"))}
    assert {f"table{n}" for n in range(1, 6)} < targets
    assert {f"{name}_smoke" for name in targets} <= set(shipped["targets"])


def test_every_sweep_is_used_and_every_point_can_be_trained(shipped: dict[str, Any]) -> None:
    sweeps = resolve_targets(shipped, ROOT / "config/sweeps")
    assert not sweeps.refused
    targets = shipped["targets"].items()
    used = {target["sweep"] or name for name, target in targets if not target["grid"]}
    assert used == {path.stem for path in (ROOT / "config/sweeps").glob("*.tsv")}
    parse_config({**shipped, "experiments": shipped["experiments"] | plain(sweeps.experiments)})


def plain(experiments: dict[str, Any]) -> dict[str, Any]:
    """Return experiments whose generator is no mixture: only sweeps may name one."""
    return {name: {**values, "generator": "gaussian"} for name, values in experiments.items()}


@pytest.mark.parametrize("name", ["digits_linf", "digits_linf_gaussian"])
def test_the_demo_has_runs_enough_for_an_effect(name: str, shipped: dict[str, Any]) -> None:
    experiment = shipped["experiments"][name]
    baseline = shipped["experiments"][experiment["baseline"]]
    assert baseline["mixing_factor"] == 1 > experiment["mixing_factor"]
    assert experiment["seeds"] == baseline["seeds"]
    assert len(experiment["seeds"]) > MIN_RUNS
    assert experiment["test_runs"] == baseline["test_runs"] == "all"
    assert {name, experiment["baseline"]} <= set(shipped["compared"])


def of_grid(tmp_path: Path, **target: Any) -> Sweeps:
    targets = {"t": {"title": "", "show": "accuracies", **target}}
    config = parse_settings(Config, {**CONFIG, "targets": targets})
    return resolve_targets(config.model_dump(mode="json"), tmp_path)


def test_a_grid_has_a_point_for_each_combination(tmp_path: Path) -> None:
    grid = {"experiment": ["base"], "mixing_factor": [0.3, 0.5], "labeller": ["big", "small"]}
    sweeps = of_grid(tmp_path, grid=grid)
    assert names(sweeps) == [
        "base", "base-small", "base-mixing_factor-0-5", "base-mixing_factor-0-5-small",
    ]  # fmt: skip
    table = "experiment|mixing_factor|labeller\nbase|0.3|big\nbase|0.3|small\nbase|0.5|big\n"
    assert resolve(tmp_path, t=table + "base|0.5|small").points["t"] == sweeps.points["t"]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ({"grid": {"experiment": ["base"]}, "sweep": "t"}, "has both a sweep and a grid"),
        ({"grid": {"experiment": []}}, "grid.experiment of target 't' is empty"),
        ({"grid": {"experiment": ["base"], "mixing_factor": [1.5]}}, "the grid of t, point 0"),
        ({"grid": {"experiment": ["base"], "colour": ["red"]}}, "colour"),
    ],
)
def test_a_wrong_grid_refuses_its_target_in_one_sentence(
    tmp_path: Path, target: dict[str, Any], sentence: str
) -> None:
    assert sentence in of_grid(tmp_path, **target).refused["t"]

"""The paper's numbers stand in the tables and figures of the paper, whichever results ours are."""

import csv
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from pyrobust.config.base import parse_settings
from pyrobust.config.targets import TargetSettings
from pyrobust.reporting.paper_figures.make import Outputs, write_target
from pyrobust.reporting.paper_figures.paper_values import REMARKS, STATEMENTS
from pyrobust.reporting.paper_figures.points import parse_points
from pyrobust.reporting.published_results import RESULTS
from tests.reporting.made_up import load_config, points_of, resolve

CONFIG = load_config()
SWEEPS = resolve(CONFIG)
PAPER = [name for name, target in CONFIG["targets"].items() if target["paper"]]


def make(target: str, folder: Path) -> tuple[list[dict[str, str]], str]:
    """Return the table of a target and the text of its figure."""
    outputs = Outputs(*(folder / f"{target}.{end}" for end in ("csv", "png", "svg")))
    settings = parse_settings(TargetSettings, CONFIG["targets"][target])
    write_target(target, settings, parse_points(points_of(target, CONFIG, SWEEPS, folder)), outputs)
    assert outputs.picture.read_bytes().startswith(b"\x89PNG")
    return list(csv.DictReader(StringIO(outputs.table.read_text()))), outputs.figure.read_text()


def number(value: float) -> str:
    return f"{value:.6g}"


def test_the_configuration_has_each_table_and_figure_and_refuses_none() -> None:
    assert not SWEEPS.refused
    names = {f"table{number}" for number in range(1, 6)}
    names |= {"baseline_ten", "raw_samples", "figure3a", "figure4a", "figure4b", "figure4c"}
    names |= {f"figure{number}" for number in range(5, 13)}
    assert set(PAPER) == names
    small = {
        f"{name}_small" for name in ("table1", "figure3a", "figure5", "figure6", "overfitting")
    }
    assert {f"{name}_smoke" for name in names} | small == set(CONFIG["targets"]) - names


@pytest.mark.parametrize("target", PAPER)
def test_whatever_the_paper_states_is_in_the_table_with_its_source(
    target: str, tmp_path: Path
) -> None:
    rows, figure = make(target, tmp_path)
    for statement in (statement for statement in STATEMENTS if statement.target == target):
        wanted = number(statement.value)
        assert any(
            row.get(f"paper_{statement.measure}") == wanted
            and statement.source in row["paper_source"]
            for row in rows
        ), statement
    for word in REMARKS.get(target, "").split():  # in lines of their own
        assert word in figure


@pytest.mark.parametrize("target", ["table2", "table3"])
def test_each_model_of_the_papers_tables_is_beside_ours(target: str, tmp_path: Path) -> None:
    rows, _ = make(target, tmp_path)
    # The models of others are of no sweep, and Table 3 has neither SVHN nor TinyImageNet.
    ours = [result for result in RESULTS if result.source.startswith(("Table 2", "Tables"))]
    ours = [result for result in ours if "et al." not in result.source]
    ours = [result for result in ours if target == "table2" or result.aa_mt is not None]
    found: list[tuple[Any, ...]] = [
        (row["paper_clean_accuracy"], row["paper_robust_accuracy"])
        for row in rows
        if "steepest" not in row["training_departures"]  # a second row beside Adam's
    ]
    assert found == [(number(r.clean_accuracy or 0), number(r.robust_accuracy)) for r in ours]


@pytest.mark.parametrize("target", ["table2", "figure9"])
def test_the_papers_tinyimagenet_numbers_say_what_its_generator_had_seen(
    target: str, tmp_path: Path
) -> None:
    rows, _ = make(target, tmp_path)
    sources = {row["paper_source"] for row in rows if row["paper_robust_accuracy"] == "0.2666"}
    assert [source.endswith("a DDPM of ImageNet's images") for source in sources] == [True]


def test_a_number_at_an_x_that_no_point_has_is_a_separate_row(tmp_path: Path) -> None:
    rows, _ = make("figure4a", tmp_path)
    papers = {row["architecture"]: row for row in rows if row["experiment"] == ""}
    assert papers.keys() == {"wrn-28-10", "wrn-70-16"}
    assert papers["wrn-28-10"]["name"] == "the paper, WRN-28-10"
    assert papers["wrn-28-10"]["labeller_accuracy"] == "0.7447"
    assert papers["wrn-28-10"]["robust_accuracy"] == ""
    assert papers["wrn-28-10"]["paper_robust_accuracy"] == "0.5815"


def test_the_share_of_originals_alone_is_of_every_generator(tmp_path: Path) -> None:
    rows, _ = make("figure3a", tmp_path)
    assert rows[-1]["mixing_factor"] == "1"
    assert rows[-1]["paper_robust_accuracy"] == "0.5444"


@pytest.mark.parametrize(
    ("target", "beside_points", "rows_of_their_own"),
    [
        (
            "figure5",
            {("Gaussian", "0.8"): "0.5537"}
            | {(name, "1"): "0.5444"
               for name in ("Gaussian", "VDVAE", "BigGAN", "StyleGAN2", "DDPM")},
            {"the paper, StyleGAN2": "0.5817", "the paper, DDPM": "0.6073"},
        ),
        ("figure10", {}, {"the paper, DDPM": "0.8597"}),
        ("figure7", {("cifar100_linf", "1"): "0.2875"}, {"the paper": "0.3123"}),
        ("figure8", {("svhn_linf", "1"): "0.5683"}, {"the paper": "0.609"}),
        ("figure9", {("tinyimagenet_linf", "1"): "0.2156"}, {"the paper": "0.2666"}),
    ],
)  # fmt: skip
def test_the_papers_best_of_a_curve_is_beside_no_point(
    target: str,
    beside_points: dict[tuple[str, str], str],
    rows_of_their_own: dict[str, str],
    tmp_path: Path,
) -> None:
    rows, _ = make(target, tmp_path)
    measure = f"paper_{CONFIG['targets'][target]['y']}"
    ours = [row for row in rows if row["experiment"]]
    papers = [row for row in rows if not row["experiment"]]
    name = "name" if CONFIG["targets"][target]["series"] else "experiment"
    found = {(row[name], row["mixing_factor"]): row[measure] for row in ours if row[measure]}
    assert {(key.partition("-mixing")[0], x): v for (key, x), v in found.items()} == beside_points
    assert {row["name"]: row[measure] for row in papers} == rows_of_their_own
    assert {row["mixing_factor"] for row in papers} == {""}

"""The page that compares experiments."""

import re
from pathlib import Path
from typing import Any

import pytest

from pyrobust.errors import UserError
from pyrobust.files import write_json
from pyrobust.reporting.overview import build_overview, write_overview


def experiment(name: str, robust: float, clean: float = 0.9, **settings: Any) -> Any:
    """Return path, record and cost of an experiment, with what the page reads."""
    given = {"dataset": "cifar10", "norm": "linf", "epsilon": "8/255",
             "architecture": "wrn-28-10", "num_samples": 1_000_000, "mixing_factor": 0.3,
             "generator": {"name": "ddpm", "type": "ddpm"},
             "evaluation": {"name": "aa_mt", "multitargeted_steps": 200}, **settings}  # fmt: skip
    record = {
        "experiment": name, "settings": given, "generator": {}, "num_images": 1000,
        "clean_accuracy": clean, "clean_interval": [0.88, 0.92], "robust_accuracy": robust,
        "aa_mt": {"robust_accuracy": robust}, "autoattack": None,
        "baseline": None, "paper": None, "attack_departures": [],
        "labeller": {"attack_check": {"passed": True}}, "runs": [{"test": None}],
    }  # fmt: skip
    return Path(f"results/{name}.json"), record, {"seconds": 3600.0}


def with_autoattack(experiment: Any, robust: float) -> Any:
    """Add AutoAttack, which leaves `robust` of the images."""
    experiment[1].update(autoattack={"robust_accuracy": robust}, robust_accuracy=robust)
    return experiment


def ranks(page: str, key: str) -> dict[str, int]:
    """Return by experiment the rank that its row has for one way to sort."""
    rows = re.findall(rf'<tr role="row".*?--{key}: (\d+);.*?href="([^"]+)\.html"', page, re.S)
    return {name: int(rank) for rank, name in rows}


def test_rows_know_their_place_in_every_order() -> None:
    page = build_overview(
        [experiment("a", 0.5, 0.8), experiment("b", 0.6, 0.7), experiment("c", 0.4, 0.9)],
        Path("results"),
    )
    assert ranks(page, "robust_accuracy") == {"b": 0, "a": 1, "c": 2}
    assert ranks(page, "clean_accuracy") == {"c": 0, "a": 1, "b": 2}
    assert ranks(page, "name") == {"a": 0, "b": 1, "c": 2}
    assert re.search(r"#task-0:has\(#task-0-name:checked\) tbody tr \{ --rank: var\(--name\)", page)


def test_the_page_needs_neither_scripts_nor_other_files() -> None:
    page = build_overview([experiment("a", 0.5), experiment("b", 0.6)], Path("results"))
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#|[ab]\.html)', page)
    assert page.count('role="img" aria-label=') == 1
    assert page.count("<label><input type=") == 5


@pytest.mark.parametrize(
    ("folder", "link"),
    [("results", "a.html"), ("other", "../results/a.html"), (".", "results/a.html")],
)
def test_links_start_at_the_folder_of_the_page(folder: str, link: str) -> None:
    assert f'href="{link}"' in build_overview([experiment("a", 0.5)], Path(folder))


def test_each_task_has_its_own_table_and_the_best_published_models() -> None:
    page = build_overview(
        [experiment("a", 0.5), experiment("b", 0.6, dataset="digits", epsilon="32/255")],
        Path("results"),
    )
    assert page.count("<table") == 2
    assert "66.10% robust under AA+MT" in page
    assert "Bartoldson2024" in page
    assert "<fieldset" not in page  # one row needs no sorting


def test_nobody_is_the_most_robust_whose_interval_overlaps_with_the_next() -> None:
    clear = build_overview([experiment("a", 0.5), experiment("b", 0.6)], Path("results"))
    assert "the model of b is the most robust of 2: 60.0%" in clear
    assert clear.count('class="best"') == 1
    tied = [experiment("a", 0.55), experiment("b", 0.6), experiment("c", 0.3)]
    page = build_overview(tied, Path("results"))
    assert "no model is clearly the most robust: that of b has 60.0%" in page
    assert "overlaps with that of a." in page
    assert 'class="best"' not in page


def test_the_spread_over_seeds_counts_in_the_comparison() -> None:
    path, record, cost = experiment("b", 0.6)
    levels = [0.5, 0.6, 0.7]
    record["runs"] = [
        {"test": {"num_images": 1000, "robust_accuracy": x, "aa_mt": {"robust_accuracy": x}}}
        for x in levels
    ]
    page = build_overview([experiment("a", 0.5), (path, record, cost)], Path("results"))
    assert "no model is clearly the most robust" in page
    record["runs"] = record["runs"][:2]  # too few for an interval
    page = build_overview([experiment("a", 0.5), (path, record, cost)], Path("results"))
    assert "the model of b is the most robust of 2" in page


def test_where_only_one_ran_autoattack_all_are_compared_by_aa_mt() -> None:
    strict = with_autoattack(experiment("a", 0.6), 0.4)
    page = build_overview([strict, experiment("b", 0.5)], Path("results"))
    assert "the model of a is the most robust of 2: 60.0%" in page
    assert "robust accuracy is under AA+MT." in page
    assert "The paper's best: 66.10% robust under AA+MT" in page
    both = [strict, with_autoattack(experiment("b", 0.5), 0.5)]
    page = build_overview(both, Path("results"))
    assert "the model of b is the most robust of 2: 50.0%" in page
    assert "robust accuracy is under the lower of AA+MT and AutoAttack." in page


@pytest.mark.parametrize("setting", ["multitargeted_steps", "num_images"])
def test_nobody_is_the_most_robust_under_different_attacks(setting: str) -> None:
    weaker = experiment("b", 0.9, evaluation={"name": "weak", setting: 20})
    page = build_overview([experiment("a", 0.5), weaker], Path("results"))
    assert "attacked differently or on different images" in page
    assert 'class="best"' not in page


def test_one_pair_of_models_is_shown_as_such() -> None:
    path, record, cost = experiment("a", 0.5)
    pair = {"difference": 0.02, "interval": [0.01, 0.03]}
    record["baseline"] = {"effect": None, "robust_accuracy": pair}
    assert "one pair: +2.0" in build_overview([(path, record, cost)], Path("results"))
    arm = {"num_runs": 4}
    record["baseline"]["effect"] = {"robust_accuracy": {**pair, "experiment": arm}}
    assert "[+1.0, +3.0], 4 seeds" in build_overview([(path, record, cost)], Path("results"))


def test_weak_attacks_are_marked() -> None:
    path, record, cost = experiment("a", 0.5)
    record |= {"attack_departures": ["fewer"], "labeller": {"attack_check": {"passed": False}}}
    page = build_overview([(path, record, cost)], Path("results"))
    assert "not comparable with published numbers" in page
    assert "an upper bound only" in page


@pytest.mark.parametrize(
    "doubt", [{"labeller": {"attack_check": {"passed": False}}}, {"trusted": False}]
)
def test_nobody_is_the_most_robust_by_an_upper_bound(doubt: dict[str, Any]) -> None:
    path, record, cost = experiment("b", 0.9)
    weak, strong = (path, record | doubt, cost), experiment("a", 0.5)
    page = build_overview([strong, weak], Path("results"))
    assert "no model is clearly the most robust: the 90.0% of b is an upper bound only" in page
    assert "misses adversarial examples that are known to exist" in page
    assert 'class="best"' not in page
    # What is above all bounds is the most robust.
    page = build_overview([experiment("c", 0.95), weak, strong], Path("results"))
    assert "the model of c is the most robust of 3" in page


def test_names_are_escaped() -> None:
    assert "<b>" not in build_overview([experiment("<b>", 0.5)], Path("results"))


def test_what_is_not_a_record_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"settings": {}})
    with pytest.raises(UserError, match=r"x\.json is not the record of an experiment; expected"):
        write_overview([tmp_path / "x.json"], tmp_path / "report.html")
    with pytest.raises(UserError, match=r"y\.json is missing: 'snakemake .*y\.json' writes it"):
        write_overview([tmp_path / "y.json"], tmp_path / "report.html")

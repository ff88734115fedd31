"""The record holds what was measured, with its intervals, and nothing of where or when."""

import json
from dataclasses import replace

import pytest

from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json
from pyrobust.reporting.record import build_record
from pyrobust.reporting.stage_results import StageFolders, load_stages, parse_experiment
from tests.reporting.fake_images import NUM_NEAR_COPIES
from tests.reporting.fixtures import experiment_json

EXPERIMENT = parse_experiment("digits_linf", experiment_json())
BASELINE = parse_experiment("digits_linf_no_generated", experiment_json(mixing_factor=1))


def record_of(folders: StageFolders) -> dict:
    return build_record(EXPERIMENT, load_stages(folders), BASELINE)


def test_the_chosen_run_gives_the_headline(finished: StageFolders) -> None:
    record = record_of(finished)
    assert record["chosen_seed"] == 1
    assert (record["clean_accuracy"], record["robust_accuracy"]) == (0.94, 0.62)
    assert record["num_images"] == 200
    assert [stage["robust_accuracy"] for stage in record["aa_mt"]["stages"]] == [0.66, 0.63, 0.62]


@pytest.mark.parametrize("key", ["clean", "robust"])
def test_intervals_hold_their_accuracy(finished: StageFolders, key: str) -> None:
    record = record_of(finished)
    low, high = record[f"{key}_interval"]
    assert 0 <= low < record[f"{key}_accuracy"] < high <= 1


def test_the_interval_is_wilsons(finished: StageFolders) -> None:
    # 124 of 200, computed by hand from Wilson's formula.
    assert record_of(finished)["robust_interval"] == pytest.approx([0.5510, 0.6844], abs=1e-4)


def test_the_attack_check_passes_where_the_labeller_falls(finished: StageFolders) -> None:
    check = record_of(finished)["labeller"]["attack_check"]
    assert check["passed"]
    assert check["robust_accuracy"] == 0


def test_the_attack_check_fails_where_the_labeller_stands(folders: StageFolders) -> None:
    path = folders.labeller_evaluation / "evaluation.json"
    write_json(path, read_json(path, "") | {"worst": 0.2})
    check = record_of(folders)["labeller"]["attack_check"]
    assert (check["case"], check["passed"]) == ("weak_attack", False)


@pytest.mark.parametrize("works", [True, False])
def test_a_labeller_that_survives_a_working_attack_shows_a_small_radius(
    folders: StageFolders, works: bool
) -> None:
    path = folders.labeller_evaluation / "evaluation.json"
    checks = [{"name": "whole_range_breaks_all", "passed": works, "seen": "all"}]
    write_json(path, read_json(path, "") | {"worst": 0.2, "checks": checks})
    check = record_of(folders)["labeller"]["attack_check"]
    assert (check["case"], check["passed"]) == (
        ("small_radius", True) if works else ("weak_attack", False)
    )


def test_near_copies_are_counted_in_the_record(finished: StageFolders) -> None:
    selection = record_of(finished)["generator"]["selection"]
    assert selection["near_copies"] == NUM_NEAR_COPIES
    assert (selection["sampled"]["count"], selection["kept"]["count"]) == (375, 300)


def test_all_runs_and_their_spread_are_there(finished: StageFolders) -> None:
    record = record_of(finished)
    assert [(run["seed"], run["chosen"]) for run in record["runs"]] == [(0, False), (1, True)]
    assert [run["test"]["robust_accuracy"] for run in record["runs"]] == [0.57, 0.62]
    assert record["spread"]["robust_accuracy"]["mean"] == pytest.approx(0.595)
    assert record["spread"]["robust_accuracy"]["std"] == pytest.approx(0.05 / 2**0.5)


def test_there_is_no_spread_where_one_run_met_the_test(folders: StageFolders) -> None:
    chosen = folders.evaluations[1].rename(folders.evaluations[1].with_name("chosen"))
    of_baseline = (folders.baseline_evaluations[0],)
    one_each = replace(folders, evaluations=(chosen,), baseline_evaluations=of_baseline)
    settings = (experiment_json(test_runs="chosen", **more) for more in ({}, {"mixing_factor": 1}))
    experiments = (parse_experiment(name, text) for name, text in zip("ab", settings, strict=True))
    experiment, baseline = experiments
    record = build_record(experiment, load_stages(one_each), baseline)
    assert record["baseline"]["effect"] is None
    assert record["spread"] is None
    assert [run["test"] is None for run in record["runs"]] == [True, False]
    assert record["robust_accuracy"] == 0.62


def test_the_baseline_is_compared_image_by_image(finished: StageFolders) -> None:
    baseline = record_of(finished)["baseline"]
    robust = baseline["robust_accuracy"]
    assert baseline["differs_in"] == ["mixing_factor"]
    assert robust["baseline"] == 0.46
    assert robust["difference"] == pytest.approx(0.16)
    assert (robust["only_this"] - robust["only_baseline"]) / 200 == pytest.approx(0.16)
    low, high = robust["interval"]
    assert low < 0.16 < high


def test_a_baseline_on_other_images_is_refused(folders: StageFolders) -> None:
    import pyarrow.parquet as pq

    path = folders.baseline_evaluations[0] / "rows.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "image", [range(1, 201)]), path)
    with pytest.raises(UserError, match="evaluated on other images"):
        record_of(folders)


def test_a_baseline_in_another_ball_is_refused(folders: StageFolders) -> None:
    path = folders.baseline_evaluations[0] / "evaluation.json"
    write_json(path, read_json(path, "") | {"epsilon": "8/255"})
    with pytest.raises(UserError, match="the same perturbation set"):
        record_of(folders)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mixing_factor": 0.8}, "seed0 was made with mixing_factor 0.3, but .* has 0.8: run"),
        ({"training": {"epochs": 9}}, "made with epochs 4.0, but the experiment has 9.0"),
        ({"evaluation": {"name": "aa_mt"}}, "made with apgd_ce_steps 20, but the experiment"),
        ({"seeds": [0, 1, 2]}, r"runs have the seeds \[0, 1\], but the experiment has \[0, 1, 2\]"),
    ],
)
def test_stages_of_other_settings_are_refused(
    finished: StageFolders, changes: dict, sentence: str
) -> None:
    other = parse_experiment("digits_linf", experiment_json(**changes))
    with pytest.raises(UserError, match=sentence):
        build_record(other, load_stages(finished), BASELINE)


def test_an_evaluation_from_before_a_setting_existed_has_its_default(folders: StageFolders) -> None:
    path = folders.evaluations[0] / "evaluation.json"
    evaluation = read_json(path, "")
    expected = record_of(folders)
    del evaluation["settings"]["search"]
    evaluation["settings"].pop("attack", None)
    write_json(path, evaluation)
    assert record_of(folders)["aa_mt"] == expected["aa_mt"]


def test_rows_that_disagree_with_the_summary_are_refused(folders: StageFolders) -> None:
    path = folders.evaluations[1] / "evaluation.json"
    summary = read_json(path, "")
    summary["stages"][-1]["num_standing"] = 7
    write_json(path, summary)
    with pytest.raises(
        UserError,
        match=r"rows\.parquet has 124 robust images, but evaluation\.json in the same folder",
    ):
        record_of(folders)


def test_the_small_attack_is_said_to_be_small(finished: StageFolders) -> None:
    departures = record_of(finished)["attack_departures"]
    assert "APGD-CE runs 1×20 (restarts×steps) instead of 5×100" in departures
    assert len(departures) == 3


def test_autoattack_decides_where_it_is_the_stronger(folders: StageFolders) -> None:
    path = folders.evaluations[1] / "evaluation.json"
    stage = {"name": "apgd-ce", "attack": "", "robust_accuracy": 0.6, "num_standing": 120}
    autoattack = {"stages": [stage], "robust_accuracy": 0.6}
    write_json(path, read_json(path, "") | {"autoattack": autoattack, "worst": 0.6})
    record = record_of(folders)
    assert record["robust_accuracy"] == 0.6
    assert record["aa_mt"]["robust_accuracy"] == 0.62
    assert record["autoattack"]["stages"][0]["interval"][0] < 0.6


def test_the_paper_stands_beside_its_own_settings() -> None:
    from pyrobust.reporting.published_results import result_of

    found = result_of("cifar10", "linf", "8/255", "wrn-28-10", "ddpm", 1_000_000)
    assert found is not None
    assert (found.clean_accuracy, found.robust_accuracy) == (0.8597, 0.6073)
    assert found.autoattack_stages["apgd-ce"] == 0.6353
    assert result_of("cifar10", "linf", "8/255", "wrn-28-10", None, 0).robust_accuracy == 0.5444
    assert result_of("cifar10", "linf", "8/255", "wrn-28-10", "ddpm", 20_000) is None


def test_the_record_says_nothing_of_where_or_when(finished: StageFolders) -> None:
    text = json.dumps(record_of(finished))
    for word in ("seconds", "device", "cpu", str(finished.dataset.parent)):
        assert word not in text


def test_two_records_of_the_same_stages_are_equal(finished: StageFolders) -> None:
    assert json.dumps(record_of(finished)) == json.dumps(record_of(finished))

"""The record holds what was measured, with its intervals, and nothing of where or when."""

import json

import pytest

from pyrobust.config.report import ReportInputs
from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json
from pyrobust.reporting.record import build_record
from pyrobust.reporting.stage_results import load_stages, parse_experiment
from tests.reporting.fake_images import NUM_NEAR_COPIES
from tests.reporting.fixtures import experiment_values

EXPERIMENT = parse_experiment("digits_linf", experiment_values())
BASELINE = parse_experiment("digits_linf_no_generated", experiment_values(mixing_factor=1))


def record_of(inputs: ReportInputs) -> dict:
    return build_record(EXPERIMENT, load_stages(inputs), BASELINE)


def test_the_chosen_run_gives_the_headline(finished: ReportInputs) -> None:
    record = record_of(finished)
    assert record["chosen_seed"] == 1
    assert (record["clean_accuracy"], record["robust_accuracy"]) == (0.94, 0.62)
    assert record["num_images"] == 200
    assert [stage["robust_accuracy"] for stage in record["aa_mt"]["stages"]] == [0.66, 0.63, 0.62]


@pytest.mark.parametrize("key", ["clean", "robust"])
def test_intervals_hold_their_accuracy(finished: ReportInputs, key: str) -> None:
    record = record_of(finished)
    low, high = record[f"{key}_interval"]
    assert 0 <= low < record[f"{key}_accuracy"] < high <= 1


def test_the_interval_is_wilsons(finished: ReportInputs) -> None:
    # 124 of 200, computed by hand from Wilson's formula.
    assert record_of(finished)["robust_interval"] == pytest.approx([0.5510, 0.6844], abs=1e-4)


def test_the_attack_check_passes_where_the_labeller_falls(finished: ReportInputs) -> None:
    check = record_of(finished)["labeller"]["attack_check"]
    assert check["passed"]
    assert check["robust_accuracy"] == 0


def test_the_attack_check_fails_where_the_labeller_stands(inputs: ReportInputs) -> None:
    path = inputs.labeller_evaluation
    write_json(path, read_json(path, "") | {"worst": 0.2})
    check = record_of(inputs)["labeller"]["attack_check"]
    assert (check["case"], check["passed"]) == ("weak_attack", False)


@pytest.mark.parametrize("works", [True, False])
def test_a_labeller_that_survives_a_working_attack_shows_a_small_radius(
    inputs: ReportInputs, works: bool
) -> None:
    path = inputs.labeller_evaluation
    checks = [{"name": "whole_range_breaks_all", "passed": works, "seen": "all"}]
    write_json(path, read_json(path, "") | {"worst": 0.2, "checks": checks})
    check = record_of(inputs)["labeller"]["attack_check"]
    assert (check["case"], check["passed"]) == (
        ("small_radius", True) if works else ("weak_attack", False)
    )


def test_near_copies_are_counted_in_the_record(finished: ReportInputs) -> None:
    selection = record_of(finished)["generator"]["selection"]
    assert selection["near_copies"] == NUM_NEAR_COPIES
    assert (selection["sampled"]["count"], selection["kept"]["count"]) == (375, 300)


def test_all_runs_and_their_spread_are_there(finished: ReportInputs) -> None:
    record = record_of(finished)
    assert [(run["seed"], run["chosen"]) for run in record["runs"]] == [(0, False), (1, True)]
    assert [run["test"]["robust_accuracy"] for run in record["runs"]] == [0.57, 0.62]
    assert record["spread"]["robust_accuracy"]["mean"] == pytest.approx(0.595)
    assert record["spread"]["robust_accuracy"]["std"] == pytest.approx(0.05 / 2**0.5)


def test_there_is_no_spread_if_one_run_was_tested(inputs: ReportInputs) -> None:
    assert inputs.baseline
    tested = inputs.evaluations[1].parent
    chosen = tested.rename(tested.with_name("chosen")) / "evaluation.json"
    theirs = {"evaluations": inputs.baseline.evaluations[:1]}
    baseline_inputs = inputs.baseline.model_copy(update=theirs)
    one_each = inputs.model_copy(update={"evaluations": (chosen,), "baseline": baseline_inputs})
    settings = (
        experiment_values(test_runs="chosen", **more) for more in ({}, {"mixing_factor": 1})
    )
    experiments = (parse_experiment(name, text) for name, text in zip("ab", settings, strict=True))
    experiment, baseline = experiments
    record = build_record(experiment, load_stages(one_each), baseline)
    assert record["baseline"]["effect"] is None
    assert record["spread"] is None
    assert [run["test"] is None for run in record["runs"]] == [True, False]
    assert record["robust_accuracy"] == 0.62


def test_the_baseline_is_compared_image_by_image(finished: ReportInputs) -> None:
    baseline = record_of(finished)["baseline"]
    robust = baseline["robust_accuracy"]
    assert baseline["differs_in"] == ["mixing_factor"]
    assert robust["baseline"] == 0.46
    assert robust["difference"] == pytest.approx(0.16)
    assert (robust["only_this"] - robust["only_baseline"]) / 200 == pytest.approx(0.16)
    low, high = robust["interval"]
    assert low < 0.16 < high


def test_a_baseline_on_other_images_is_refused(inputs: ReportInputs) -> None:
    import pyarrow.parquet as pq

    assert inputs.baseline
    path = inputs.baseline.evaluations[0].with_name("rows.parquet")
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "image", [range(1, 201)]), path)
    with pytest.raises(UserError, match="evaluated on other images"):
        record_of(inputs)


def test_a_baseline_in_another_ball_is_refused(inputs: ReportInputs) -> None:
    assert inputs.baseline
    path = inputs.baseline.evaluations[0]
    write_json(path, read_json(path, "") | {"epsilon": "8/255"})
    with pytest.raises(UserError, match="the same perturbation set"):
        record_of(inputs)


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
    finished: ReportInputs, changes: dict, sentence: str
) -> None:
    other = parse_experiment("digits_linf", experiment_values(**changes))
    with pytest.raises(UserError, match=sentence):
        build_record(other, load_stages(finished), BASELINE)


def test_an_evaluation_from_before_a_setting_existed_has_its_default(inputs: ReportInputs) -> None:
    path = inputs.evaluations[0]
    evaluation = read_json(path, "")
    expected = record_of(inputs)
    del evaluation["settings"]["search"]
    evaluation["settings"].pop("attack", None)
    write_json(path, evaluation)
    assert record_of(inputs)["aa_mt"] == expected["aa_mt"]


def test_rows_that_disagree_with_the_summary_are_refused(inputs: ReportInputs) -> None:
    path = inputs.evaluations[1]
    summary = read_json(path, "")
    summary["stages"][-1]["num_standing"] = 7
    write_json(path, summary)
    with pytest.raises(
        UserError,
        match=r"rows\.parquet has 124 robust images, but evaluation\.json in the same folder",
    ):
        record_of(inputs)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("evaluate/seed0/evaluation.json", {"worst": "x"}),
        ("evaluate/seed0/evaluation.json", {"clean_accuracy": -1}),
        ("evaluate/seed0/evaluation.json", {"stages": [3]}),
        ("train/seed0/training.json", {"settings": {}}),
        ("train/choice.json", {"chosen_seed": None}),
    ],
)
def test_a_changed_result_is_named(
    file: str, changes: dict[str, object], inputs: ReportInputs
) -> None:
    path = inputs.dataset.parents[1] / file
    write_json(path, read_json(path, "") | changes)
    with pytest.raises(UserError, match=f"{path} is damaged"):
        load_stages(inputs)


def test_the_small_attack_is_said_to_be_small(finished: ReportInputs) -> None:
    departures = record_of(finished)["attack_departures"]
    assert "APGD-CE runs 1×20 (restarts×steps) instead of 5×100" in departures
    assert len(departures) == 3


def test_autoattack_decides_where_it_is_the_stronger(inputs: ReportInputs) -> None:
    path = inputs.evaluations[1]
    stage = {"name": "apgd-ce", "attack": "", "robust_accuracy": 0.6, "num_standing": 120}
    autoattack = {"stages": [stage], "robust_accuracy": 0.6}
    write_json(path, read_json(path, "") | {"autoattack": autoattack, "worst": 0.6})
    record = record_of(inputs)
    assert record["robust_accuracy"] == 0.6
    assert record["aa_mt"]["robust_accuracy"] == 0.62
    assert record["autoattack"]["stages"][0]["interval"][0] < 0.6


def test_the_paper_is_beside_its_own_settings() -> None:
    from pyrobust.reporting.published_results import result_of

    found = result_of("cifar10", "linf", "8/255", "wrn-28-10", "ddpm", 1_000_000)
    assert found is not None
    assert (found.clean_accuracy, found.robust_accuracy) == (0.8597, 0.6073)
    assert found.autoattack_stages["apgd-ce"] == 0.6353
    assert result_of("cifar10", "linf", "8/255", "wrn-28-10", None, 0).robust_accuracy == 0.5444
    assert result_of("cifar10", "linf", "8/255", "wrn-28-10", "ddpm", 20_000) is None


def test_the_record_says_nothing_of_where_or_when(finished: ReportInputs) -> None:
    text = json.dumps(record_of(finished))
    for word in ("seconds", "device", "cpu", str(finished.dataset.parents[1])):
        assert word not in text


def test_two_records_of_the_same_stages_are_equal(finished: ReportInputs) -> None:
    assert json.dumps(record_of(finished)) == json.dumps(record_of(finished))

"""An effect is a difference of means over seeds; one pair of models is no evidence about data."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from pyrobust.config.report import ReportInputs
from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json
from pyrobust.reporting.claims import headline
from pyrobust.reporting.downloads import as_latex, result_table
from pyrobust.reporting.effects import arm_of, compare, effect_of
from pyrobust.reporting.record import build_record
from pyrobust.reporting.stage_results import load_stages, parse_experiment
from pyrobust.reporting.tables import headline_rows
from tests.reporting.fixtures import add_seeds, experiment_values

SEEDS = {"seeds": [0, 1, 2, 3]}


def record_of(inputs: ReportInputs, ours: dict[str, Any], theirs: dict[str, Any]) -> Any:
    experiment = parse_experiment("with", experiment_values(**ours))
    baseline = parse_experiment("without", experiment_values(mixing_factor=1, **theirs))
    return build_record(experiment, load_stages(inputs), baseline)


def test_the_effect_is_the_difference_of_means_over_seeds(inputs: ReportInputs) -> None:
    four = add_seeds(inputs, robust=[0.6, 0.64], baseline=[0.5, 0.42])
    baseline = record_of(four, SEEDS, SEEDS)["baseline"]
    ours, theirs = [0.57, 0.62, 0.6, 0.64], [0.46, 0.44, 0.5, 0.42]
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    effect = baseline["effect"]["robust_accuracy"]
    assert effect["difference"] == pytest.approx(sum(ours) / 4 - sum(theirs) / 4)
    assert effect["interval"] == pytest.approx([expected.low, expected.high])
    assert effect["experiment"]["num_runs"] == effect["baseline"]["num_runs"] == 4
    assert effect["experiment"]["mean"] == pytest.approx(0.6075)
    assert effect["baseline"]["std"] == pytest.approx(stats.tstd(theirs))
    assert effect["experiment"]["interval"][0] < 0.6075 < effect["experiment"]["interval"][1]
    assert baseline["effect"]["clean_accuracy"]["difference"] == pytest.approx(-0.0075)
    # The chosen pair stays, for the sentence about these two models.
    assert baseline["robust_accuracy"]["difference"] == pytest.approx(0.62 - 0.46)


def test_the_latex_table_separates_its_cells_and_escapes_what_is_in_them(
    inputs: ReportInputs,
) -> None:
    four = add_seeds(inputs, robust=[0.6, 0.64], baseline=[0.5, 0.42])
    lines = as_latex(result_table(record_of(four, SEEDS, SEEDS))).splitlines()
    assert lines[2] == r"Experiment & Runs & Clean (mean $\pm$ sd) & Robust (mean $\pm$ sd) \\"
    assert lines[4] == r"with & 4 & 93.8\% $\pm$ 0.5\% & 60.7\% $\pm$ 3.0\% \\"
    assert as_latex([{"experiment": "a_b & c", "runs": "1"}]).splitlines()[4] == r"a\_b \& c & 1 \\"


def test_two_seeds_an_arm_claim_no_effect(finished: ReportInputs) -> None:
    assert record_of(finished, {}, {})["baseline"]["effect"] is None


def test_runs_that_all_agree_have_no_interval_and_claim_no_effect(inputs: ReportInputs) -> None:
    assert inputs.baseline
    first = inputs.evaluations[0]
    rows = pq.read_table(first.with_name("rows.parquet"))
    for index in (*inputs.evaluations[1:], *inputs.baseline.evaluations):
        pq.write_table(rows, index.with_name("rows.parquet"))
        write_json(index, read_json(first, ""))
    three = add_seeds(inputs, robust=[0.57], baseline=[0.57])
    seeds = {"seeds": [0, 1, 2]}
    baseline = record_of(three, seeds, seeds)["baseline"]
    assert (baseline["effect"], baseline["num_runs"]) == (None, 3)


def test_intervals_of_accuracies_end_where_accuracies_do() -> None:
    low, high = arm_of([0.97, 1.0, 0.99])["interval"]
    assert low < 0.98667 < high == 1.0
    assert arm_of([0.0, 0.01, 0.04])["interval"][0] == 0.0
    assert arm_of([0.5, 0.51, 0.52])["interval"][1] < 0.54
    effect = effect_of([0.8, 1.0, 0.9], [0.0, 0.1, 0.5])
    assert effect is not None
    assert effect["interval"][1] == 1.0


def test_a_training_is_not_compared_with_itself(finished: ReportInputs) -> None:
    arm = load_stages(finished).tested
    one, same = (parse_experiment(str(seeds), experiment_values(seeds=seeds))
                 for seeds in ([0, 1], [1, 2]))  # fmt: skip
    with pytest.raises(UserError, match=r"equal settings and share the seeds \[1\]"):
        compare(one, arm, same, arm)


def test_a_run_counts_once(inputs: ReportInputs) -> None:
    twice = inputs.model_copy(update={"runs": (*inputs.runs, inputs.runs[0])})
    with pytest.raises(UserError, match=r"have the seeds \[0, 1, 0\]; give the folder of each run"):
        load_stages(twice)
    copied = inputs.evaluations[1].parents[1] / "chosen/evaluation.json"  # seed 1 is chosen
    write_json(copied, read_json(inputs.evaluations[1], ""))
    twice = inputs.model_copy(update={"evaluations": (*inputs.evaluations, copied)})
    with pytest.raises(UserError, match=r"seed1 and .*chosen are both of seed 1"):
        load_stages(twice)


def test_one_untrusted_evaluation_makes_an_arm_untrusted(inputs: ReportInputs) -> None:
    assert inputs.baseline
    assert record_of(inputs, {}, {})["trusted"] is True
    for index in (inputs.evaluations[0], inputs.baseline.evaluations[1]):  # neither is chosen
        write_json(index, {**read_json(index, ""), "trusted": False})
    record = record_of(inputs, {}, {})
    assert (record["trusted"], record["baseline"]["trusted"]) == (False, False)
    write_json(inputs.evaluations[0], {**read_json(inputs.evaluations[0], ""), "trusted": None})
    assert record_of(inputs, {}, {})["trusted"] is None


@pytest.mark.parametrize(
    ("ours", "theirs", "sentence"),
    [
        (SEEDS, {}, "number of seeds is 2 instead of 4"),
        (SEEDS, {**SEEDS, "test_runs": "chosen"}, "test_runs is chosen instead of all"),
        (SEEDS, SEEDS, "seed 2 has no evaluation"),
    ],
)
def test_arms_of_different_numbers_of_runs_are_refused(
    inputs: ReportInputs, ours: dict[str, Any], theirs: dict[str, Any], sentence: str
) -> None:
    four_against_two = add_seeds(inputs, robust=[0.6, 0.64], baseline=[])
    with pytest.raises(UserError, match=sentence):
        record_of(four_against_two, ours, theirs)


def with_autoattack(index: Path, robust: float) -> None:
    """Add AutoAttack to an evaluation, after which `robust` of the images are correct."""
    summary = read_json(index, "")
    rows = pq.read_table(index.with_name("rows.parquet"))
    standing = round(robust * summary["num_images"])
    correct = [n for n, right in enumerate(rows["clean_correct"].to_pylist()) if right]
    broken_by = ["square"] * len(rows)
    for n in correct[:standing]:
        broken_by[n] = None
    column = pa.array(broken_by, pa.string())
    rows = rows.append_column("broken_by_autoattack", column)
    pq.write_table(rows, index.with_name("rows.parquet"))
    stage = {"name": "square", "attack": "", "robust_accuracy": robust, "num_standing": standing}
    found = {"stages": [stage], "robust_accuracy": robust}
    worst = min(robust, summary["robust_accuracy"])
    settings = {**summary["settings"], "autoattack": True}
    more = {"autoattack": found, "worst": worst, "settings": settings}
    write_json(index, {**summary, **more})


def _autoattack(**more: Any) -> dict[str, Any]:
    return {
        "evaluation": {**experiment_values()["evaluation"], "autoattack": True},
        **more,
    }


def test_where_only_one_side_ran_autoattack_both_are_compared_by_aa_mt(
    inputs: ReportInputs,
) -> None:
    four = add_seeds(inputs, robust=[0.6, 0.64], baseline=[0.5, 0.42])
    assert four.baseline
    for index in four.baseline.evaluations:
        with_autoattack(index, 0.3)
    baseline = record_of(four, SEEDS, _autoattack(**SEEDS))["baseline"]
    assert baseline["attack"] == "aa_mt"
    assert baseline["differs_in"] == ["mixing_factor"]
    assert baseline["robust_accuracy"]["baseline"] == 0.46
    assert baseline["effect"]["robust_accuracy"]["baseline"]["mean"] == pytest.approx(0.455)


def test_where_all_ran_autoattack_the_worst_of_both_is_compared(inputs: ReportInputs) -> None:
    four = add_seeds(inputs, robust=[0.6, 0.64], baseline=[0.5, 0.42])
    assert four.baseline
    for index in four.baseline.evaluations:
        with_autoattack(index, 0.3)
    for index in (*four.evaluations, four.labeller_evaluation):
        with_autoattack(index, 0.5)
    record = record_of(four, _autoattack(**SEEDS), _autoattack(**SEEDS))
    baseline = record["baseline"]
    assert baseline["attack"] == "worst"
    assert baseline["robust_accuracy"]["baseline"] == 0.3
    assert baseline["robust_accuracy"]["difference"] == pytest.approx(0.2)
    assert record["robust_accuracy"] == 0.5


def test_where_this_one_alone_ran_autoattack_all_that_is_compared_is_under_aa_mt(
    inputs: ReportInputs,
) -> None:
    for index in (*inputs.evaluations, inputs.labeller_evaluation):
        with_autoattack(index, 0.02 if "labeller" in str(index) else 0.4)
    record = record_of(inputs, _autoattack(), {})
    assert (record["robust_accuracy"], record["baseline"]["attack"]) == (0.4, "aa_mt")
    assert "and 40.0% (33.5 to 46.9%, 95% interval) under AA+MT and AutoAttack in" in headline(
        record
    )
    shown = {row["name"]: row["robust_accuracy"] for row in headline_rows(record)}
    assert shown == {"labeller (not robust)": 0.0, "without": 0.46, "this classifier, AA+MT": 0.62}
    assert [row["robust"] for row in result_table(record)] == ["62.0%", "46.0%"]

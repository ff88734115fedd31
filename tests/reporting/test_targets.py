"""Tables and figures over many experiments: our numbers, the paper's, and their files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from pyrobust.cli import app
from pyrobust.data.store import StoreWriter
from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json
from pyrobust.reporting.paper_figures.gains import interval_words
from pyrobust.reporting.paper_figures.paper_values import STATEMENTS
from pyrobust.reporting.wording import points
from tests.reporting.target_points import evaluation, make
from tests.reporting.test_overfitting import run


def test_a_table_has_our_numbers_with_intervals_and_the_papers_beside(
    make_point: Any, tmp_path: Path
) -> None:
    points = [make_point(0.61, "ours"), make_point(0.5, "other", architecture="wrn-34-10")]
    rows, _ = make(tmp_path, {"show": "accuracies", "paper": "table2"}, points)
    ours, other = rows
    assert (ours["name"], ours["robust_accuracy"], ours["num_images"]) == ("ours", "0.61", "1000")
    assert float(ours["robust_low"]) < 0.61 < float(ours["robust_high"])
    assert (ours["paper_robust_accuracy"], ours["paper_clean_accuracy"]) == ("0.6073", "0.8597")
    assert ours["paper_source"] == "Tables 2 and 3"
    assert other["paper_robust_accuracy"] == "" == other["paper_source"]


def test_a_curve_is_drawn_for_each_series_and_takes_the_papers_number_at_its_x(
    make_point: Any, tmp_path: Path
) -> None:
    points = [make_point(0.5 + share / 10, "Gaussian", mixing_factor=share, kind="gaussian")
              for share in (0.0, 0.8, 1.0)]  # fmt: skip
    settings = {"show": "curves", "series": ["name"], "paper": "figure5"}
    rows, figure = make(tmp_path, settings, points)
    assert [row["paper_robust_accuracy"] for row in rows] == ["", "0.5537", "0.5444"]
    assert figure.count("</svg>") == 1
    assert "Date" not in figure


ORIGINALS_ALONE = {"mixing_factor": 1.0, "seeds": [0, 1, 2, 3], "test_runs": "all"}


def test_seeds_reach_the_table_with_the_gain_over_no_generated_data(
    make_point: Any, tmp_path: Path
) -> None:
    with_data, without = [0.58, 0.60, 0.61, 0.59], [0.54, 0.55, 0.56, 0.55]
    mixed = make_point(with_data, "DDPM", **{**ORIGINALS_ALONE, "mixing_factor": 0.3})
    points = [mixed, make_point(without, "DDPM", **ORIGINALS_ALONE)]
    rows, figure = make(tmp_path, {"show": "curves", "series": ["name"]}, points)
    row, alone = rows
    assert (row["num_runs"], row["robust_runs"]) == ("4", "0.58 0.6 0.61 0.59")
    assert float(row["robust_mean"]) == pytest.approx(0.595)
    assert float(row["robust_sd"]) == pytest.approx(np.std(with_data, ddof=1), abs=1e-6)
    assert float(row["robust_mean_low"]) < 0.595 < float(row["robust_mean_high"])
    expected = stats.ttest_ind(with_data, without, equal_var=False).confidence_interval()
    assert float(row["gain"]) == pytest.approx(0.045)
    assert float(row["gain_low"]) == pytest.approx(expected.low, abs=1e-6)
    assert float(row["gain_high"]) == pytest.approx(expected.high, abs=1e-6)
    assert alone["gain"] == ""
    assert "mean of 4 seeds, 95% interval" in figure


def test_a_gain_of_single_runs_has_no_interval(make_point: Any, tmp_path: Path) -> None:
    points = [make_point(0.6, mixing_factor=0.3), make_point(0.55, mixing_factor=1.0)]
    rows, _ = make(tmp_path, {"show": "accuracies"}, points)
    assert (rows[0]["num_runs"], float(rows[0]["gain"])) == ("1", pytest.approx(0.05))
    assert rows[0]["gain_low"] == rows[0]["robust_sd"] == rows[0]["robust_mean_low"] == ""


@pytest.mark.parametrize(
    "changed",
    [{"seeds": [0, 1]}, {"architecture": "wrn-34-10"}, {"training": {"epochs": 9}},
     {"test_runs": "chosen"}],
)  # fmt: skip
def test_arms_that_differ_in_more_than_data_have_no_gain(
    changed: dict[str, Any], make_point: Any, tmp_path: Path
) -> None:
    mixed = make_point([0.6] * 4, **{**ORIGINALS_ALONE, "mixing_factor": 0.3})
    levels = [0.55] * (2 if "seeds" in changed else 4)
    points = [mixed, make_point(levels, **{**ORIGINALS_ALONE, **changed})]
    rows, _ = make(tmp_path, {"show": "accuracies"}, points)
    assert rows[0]["gain"] == ""


def test_validation_chooses_the_mixing_factor_and_not_the_test(
    make_point: Any, tmp_path: Path
) -> None:
    results = {0.0: (0.58, 0.57), 0.3: (0.60, 0.62), 0.5: (0.63, 0.61), 1.0: (0.55, 0.54)}
    points = [make_point(test, mixing_factor=share, validation=validation)
              for share, (test, validation) in results.items()]  # fmt: skip
    rows, figure = make(tmp_path, {"show": "curves"}, points)
    chosen = [row["mixing_factor"] for row in rows if row["chosen_by_validation"] == "yes"]
    assert chosen == ["0.3"]
    assert [row["validation_accuracy"] for row in rows] == ["0.57", "0.62", "0.61", "0.54"]
    assert "ring: chosen by validation" in figure


def test_the_table_flags_fewer_images_and_another_training(make_point: Any, tmp_path: Path) -> None:
    points = [make_point(training={"epochs": 80}), make_point(num_samples=100_000_000)]
    rows, _ = make(tmp_path, {"show": "accuracies"}, points)
    assert rows[0]["departures"] == "1,000 of 1,200 test images are attacked"
    assert rows[0]["training_departures"] == "epochs 80.0 (paper: 400.0)"
    assert rows[1]["training_departures"] == "epochs 400.0 (paper: 2000.0)"


def test_labeller_accuracy_can_be_the_x_axis(make_point: Any, tmp_path: Path) -> None:
    settings = {"show": "curves", "x": "labeller_accuracy", "series": ["architecture"]}
    rows, _ = make(tmp_path, settings, [make_point()])
    assert rows[0]["labeller_accuracy"] == "0.9568"


def test_a_setting_of_the_training_can_be_the_x_axis_and_a_series(
    make_point: Any, tmp_path: Path
) -> None:
    points = [make_point(0.5 + beta / 100, training={"trades_beta": beta}, epsilon="8/255")
              for beta in (7.0, 5.0)]  # fmt: skip
    settings = {"show": "curves", "x": "training.trades_beta", "series": ["training.epochs"]}
    rows, figure = make(tmp_path, settings, [*points, make_point(0.6)])
    # Without a value of its own, a point has the recipe's.
    assert [row["training.trades_beta"] for row in rows] == ["7", "5", "6"]
    assert {row["training.epochs"] for row in rows} == {"400"}
    assert "trades beta" in figure


def test_fractions_can_be_the_x_axis(make_point: Any, tmp_path: Path) -> None:
    point = make_point(0.5, epsilon="16/255")
    evaluation(Path(point["files"]["evaluation"][0]).parent, 0.8, 0.5, "16/255")
    rows, _ = make(tmp_path, {"show": "curves", "x": "epsilon"}, [make_point(0.6), point])
    assert [row["epsilon"] for row in rows] == ["8/255", "16/255"]


def test_unseen_samples_are_another_series_than_test_images(
    make_point: Any, tmp_path: Path
) -> None:
    alone = {"mixing_factor": 0.0}
    points = [make_point(0.58, **alone),
              make_point(0.64, tested_on="ddpm", test_samples="1000", **alone)]  # fmt: skip
    settings = {"show": "curves", "x": "num_samples", "series": ["tested_on"], "paper": "figure6"}
    rows, _ = make(tmp_path, settings, points)
    assert [row["paper_robust_accuracy"] for row in rows] == ["0.5843", "0.6417"]
    assert [row["paper_differs"] for row in rows] == ["", ""]
    # At another mixing factor, the paper states nothing.
    rows, _ = make(tmp_path, settings, [make_point(0.6, mixing_factor=0.3)])
    assert "paper_robust_accuracy" not in rows[0]


def test_a_number_of_a_curve_comes_with_what_differs(make_point: Any, tmp_path: Path) -> None:
    settings = {"show": "curves", "paper": "figure3a"}
    short = {"training": {"epochs": 80}, "kind": "gaussian"}
    points = [make_point(mixing_factor=share, **short) for share in (0.8, 1.0)]
    rows, _ = make(tmp_path, settings, points)
    assert [row["paper_differs"] for row in rows] == [
        "80 epochs (paper: 400)",
        "80 epochs (paper: 400); the run that validation chose (paper: mean of 10 runs)",
    ]
    # The paper's Table 2 has no AA+MT alone.
    rows, _ = make(tmp_path, {**settings, "paper": "figure8"}, [make_point(mixing_factor=1.0)])
    assert rows[0]["paper_robust_accuracy"] == "0.5683"
    assert rows[0]["paper_differs"] == "AA+MT (paper: the lower of AA+MT and AutoAttack)"


def test_unseen_samples_have_an_interval_over_seeds(make_point: Any, tmp_path: Path) -> None:
    unseen = {"tested_on": "ddpm", "test_selection": "unseen", "test_samples": "1000"}
    seeds = {"seeds": [0, 1, 2], "test_runs": "all"}
    points = [make_point([0.62, 0.64, 0.66], **unseen, **seeds, mixing_factor=0.0),
              make_point([0.52, 0.55, 0.54], **unseen, **seeds, mixing_factor=1.0),
              make_point([0.58, 0.57, 0.59], **seeds, mixing_factor=1.0)]  # fmt: skip
    rows, figure = make(tmp_path, {"show": "curves", "series": ["tested_on"]}, points)
    assert [row["num_runs"] for row in rows] == ["3", "3", "3"]
    assert float(rows[0]["robust_mean_low"]) < 0.64 < float(rows[0]["robust_mean_high"])
    # Held against the originals alone on the same unseen samples, not on the test images.
    assert float(rows[0]["gain"]) == pytest.approx(0.64 - 1.61 / 3, abs=1e-6)
    assert float(rows[0]["gain_low"]) > 0
    assert "mean of 3 seeds, 95% interval" in figure


def test_ten_runs_without_data_are_held_against_the_papers_mean(
    make_point: Any, tmp_path: Path
) -> None:
    ten = [0.54 + seed / 1000 for seed in range(10)]
    rows, _ = make(
        tmp_path,
        {"show": "accuracies", "paper": "baseline_ten"},
        [make_point(ten, mixing_factor=1.0)],
    )
    assert (rows[0]["paper_robust_mean"], rows[0]["paper_robust_sd"]) == ("0.5444", "0.0039")
    assert "paper_robust_accuracy" not in rows[0]  # the chosen run is not a mean


def test_stages_have_a_column_each(make_point: Any, tmp_path: Path) -> None:
    rows, _ = make(tmp_path, {"show": "stages", "paper": "table3"}, [make_point(0.61)])
    assert rows[0]["after_aa_mt_apgd_ce"] == "0.61"
    assert rows[0]["paper_after_autoattack_apgd_t"] == "0.6073"


def test_neighbours_are_beside_those_of_the_paper(make_point: Any, tmp_path: Path) -> None:
    shares = {"train": 0.3, "test": 0.3, "self": 0.4}
    write_json(
        tmp_path / "neighbours.json",
        {"complementarity": shares, "coverage": {"train": 0.5, "test": 0.5},
         "reference": {"train_covers_test": 0.5, "test_covers_train": 0.5},
         "num_samples": 10_000, "extractor": "lpips"},
    )  # fmt: skip
    write_json(
        tmp_path / "quality.json",
        {"inception_score": {"mean": 9.0, "std": 0.1}, "fid": 4.0, "num_images": 50_000,
         "extractor": "inception"},
    )  # fmt: skip
    files = {name: str(tmp_path / f"{name}.json") for name in ("neighbours", "quality")}
    mixup = {**make_point(name="mixup", augmentation="mixup"), "files": files}
    ddpm = {**make_point(name="DDPM"), "files": files}
    rows, _ = make(tmp_path, {"show": "neighbours", "paper": "table4"}, [mixup, ddpm])
    assert [row["complementarity_self"] for row in rows] == ["0.4", "0.4"]
    assert [row["paper_complementarity_self"] for row in rows] == ["0.035", "0.4241"]
    assert [row["paper_fid"] for row in rows] == ["7.71", "3.15"]
    assert {row["paper_differs"] for row in rows} == {""}
    rows, _ = make(tmp_path, {"show": "neighbours", "paper": "table1"}, [ddpm])
    assert rows[0]["paper_differs"] == "neighbours by lpips features (paper: inception)"
    quality = {**read_json(tmp_path / "quality.json", ""), "extractor": "labeller"}
    write_json(tmp_path / "quality.json", {**quality, "num_images": 2000})
    rows, _ = make(tmp_path, {"show": "neighbours", "paper": "table4"}, [ddpm])
    assert rows[0]["paper_differs"] == (
        "FID and IS by labeller features (paper: inception); FID and IS of 2,000 images (paper: "
        "50,000)"
    )

    # Training without generated images has nothing to measure, and is what others gain over.
    alone, mixed = make_point(0.58, mixing_factor=1), make_point(0.64, mixing_factor=0.5)
    mixed = {**mixed, "files": {**mixed["files"], **files}}
    rows, _ = make(tmp_path, {"show": "neighbours"}, [alone, mixed])
    assert [row["complementarity_self"] for row in rows] == ["", "0.4"]
    assert [row["gain"] for row in rows] == ["", "0.06"]
    seeds = {"seeds": [0, 1, 2], "test_runs": "all"}
    alone = make_point([0.58, 0.57, 0.59], mixing_factor=1, **seeds)
    mixed = make_point([0.64, 0.63, 0.65], mixing_factor=0.5, **seeds)
    mixed = {**mixed, "files": {**mixed["files"], **files}}
    rows, figure = make(tmp_path, {"show": "neighbours"}, [alone, mixed])
    low, high = (float(rows[1][f"gain_{side}"]) for side in ("low", "high"))
    assert f">[{points(low)}, {points(high)}]<" in figure
    assert "robust: mean of 3 seeds" in figure


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([1], "one run, 95% interval over images"),
        ([2], "mean of 2 seeds"),
        ([3, 4], "mean of 3 to 4 seeds, 95% interval"),
        ([2, 4], "mean of 2 to 4 seeds, 95% interval from 3 on"),
        ([1, 2], "one run, or mean of 2 seeds, 95% interval over images"),
        ([1, 4], "one run, or mean of 4 seeds, 95% interval over images or seeds"),
    ],
)
def test_an_axis_says_what_has_an_interval(counts: list[int], words: str) -> None:
    assert interval_words([{"num_runs": count} for count in counts]) == words


def test_overfitting_is_the_mean_over_runs_at_each_validation(
    make_point: Any, tmp_path: Path
) -> None:
    files = []
    for seed, fitted in enumerate((0.8, 0.9)):
        history = run([0.5, fitted], [0.4, 0.6])
        write_json(tmp_path / f"{seed}.json", history)
        files.append(str(tmp_path / f"{seed}.json"))
    point = {**make_point(name="few images"), "files": {"training": files}}
    rows, svg = make(tmp_path, {"show": "overfitting"}, [point])
    assert [(row["weights"], row["step"]) for row in rows[:3]] == [
        ("averaged", "100"), ("averaged", "200"), ("live", "100"),
    ]  # fmt: skip
    assert (rows[1]["train_robust_accuracy"], rows[1]["gap"]) == ("0.85", "0.25")
    assert (rows[1]["num_images"], rows[1]["num_validation_images"]) == ("1000", "1024")
    assert 0.2 < float(rows[1]["gap_low"]) < 0.25 < float(rows[1]["gap_high"]) < 0.3
    assert "few images" in svg


def test_landscapes_are_written_point_by_point(make_point: Any, tmp_path: Path) -> None:
    axis = [-0.05, 0.0, 0.05]
    margin = [[1.0, 2.0, 1.0], [0.5, 3.0, -0.5], [1.0, 2.0, 1.0]]
    image = {"image": 0, "label": 3, "u": axis, "v": axis, "margin": margin}
    write_json(tmp_path / "l.json", {"norm": "linf", "epsilon": "8/255", "images": [image] * 4})
    point = {**make_point(), "files": {"landscape": str(tmp_path / "l.json")}}
    rows, _ = make(tmp_path, {"show": "landscapes"}, [point])
    assert len(rows) == 2 * 9  # Figure 11 has two images
    assert (rows[5]["u"], rows[5]["v"], rows[5]["margin"]) == ("0.05", "0", "-0.5")


def test_samples_show_the_first_images_of_each_class(make_point: Any, tmp_path: Path) -> None:
    labels = np.arange(40) % 2
    writer = StoreWriter(tmp_path / "store", (4, 4, 3), ("a", "b"), 40, {}, "a test")
    writer.append(np.zeros((40, 4, 4, 3), np.uint8), labels)
    writer.finish()
    point = {**make_point(), "files": {"samples": str(tmp_path / "store/manifest.json")}}
    rows, _ = make(tmp_path, {"show": "samples"}, [point])
    assert [row["row"] for row in rows[:10]] == [str(2 * n) for n in range(10)]


def test_equal_inputs_give_equal_files(make_point: Any, tmp_path: Path) -> None:
    points = [make_point(0.6, "a"), make_point(0.5, "b", mixing_factor=1.0)]
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        make(folder, {"show": "curves", "series": ["name"]}, points)
    for end in ("csv", "png", "svg"):
        assert (first / f"t.{end}").read_bytes() == (second / f"t.{end}").read_bytes()


def test_an_evaluation_of_another_ball_is_refused(make_point: Any, tmp_path: Path) -> None:
    point = make_point()
    evaluation(Path(point["files"]["evaluation"][0]).parent, 0.8, 0.6, "4/255")
    with pytest.raises(UserError, match="epsilon 4/255, but the experiment 'e' has 8/255"):
        make(tmp_path, {"show": "accuracies"}, [point])
    assert not list(tmp_path.glob("t.*"))


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ("nonsense", "is not JSON"),
        ("[{}]", "point 0 of the target has no 'experiment'"),
        ("[1]", r"points\.0 is 1"),
    ],
)
def test_points_that_the_workflow_did_not_write_are_refused(
    points: str, sentence: str, tmp_path: Path
) -> None:
    text = f'{{"name": "t", "settings": {{"title": "t", "show": "curves"}}, "points": {points}}}'
    (tmp_path / "inputs.json").write_text(text)
    options = [f"--{name}={tmp_path / name}" for name in ("table", "picture", "figure")]
    arguments = ["target", str(tmp_path / "inputs.json"), *options]
    with pytest.raises(UserError, match=sentence):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_what_the_paper_states_is_a_fraction_or_an_inception_metric() -> None:
    for statement in STATEMENTS:
        if not statement.measure.endswith(("fid", "inception_score")):
            assert 0 < statement.value < 1, statement

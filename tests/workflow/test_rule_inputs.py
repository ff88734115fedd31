"""Inputs, flags and descriptions that the rules ask for, without snakemake."""

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pyrobust.config import Settings, parse_settings
from pyrobust.config.analysis import AnalysisSettings
from pyrobust.config.data import DatasetSettings, SelectionSettings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.experiment import Config, read_config
from pyrobust.config.generator_types import TYPES
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.report import ReportInputs
from pyrobust.config.training import RECIPES, LabellerSettings, TrainSettings
from pyrobust.errors import UserError
from pyrobust.workflow import paths
from pyrobust.workflow.figures import Figures
from pyrobust.workflow.flags import flags, input_flags, settings_flags, stated
from pyrobust.workflow.own_code import own_files
from pyrobust.workflow.reports import Reports
from pyrobust.workflow.rule_inputs import RuleInputs
from pyrobust.workflow.shares import note_jobs, share_files
from tests.workflow.running import ROOT, TINY


def rule_inputs(tmp_path: Path, text: str = "{}") -> RuleInputs:
    """Return the inputs of the rules for the tiny experiment, with changes to its settings."""
    (tmp_path / "changes.yaml").write_text(text)
    files = [ROOT / "config/config.yaml", ROOT / TINY, tmp_path / "changes.yaml"]
    config: Config = read_config(files)
    return RuleInputs(config.model_dump(mode="json"), ROOT / "tests/workflow/sweeps")


TINY_RUN = {"experiment": "tiny", "seed": "0"}
TINY_SELECTION = {
    "dataset": "digits",
    "generator": "tiny",
    "labeller": "tiny",
    "selection": "tiny",
    "num_samples": "400",
}


@pytest.mark.parametrize(
    ("model", "values", "expected"),
    [
        (TrainSettings, {"recipe": "gowal21", "trades_beta": 6}, {}),
        (TrainSettings, {"recipe": "wang23", "trades_beta": 5.0}, {"recipe": "wang23"}),
        (TrainSettings, {"recipe": "wang23", "trades_beta": 6}, {"recipe": "wang23",
                                                                "trades_beta": 6.0}),
        (TrainSettings, {"recipe": "wang23", "norm": "l2", "epsilon": "128/255",
                         "attack_step_size": "25.6/255"},
         {"recipe": "wang23", "norm": "l2", "epsilon": "128/255"}),
        (GeneratorSettings, {"type": "ddpm", "preset": "tiny", "sampling_steps": 20},
         {"type": "ddpm", "preset": "tiny"}),
        (GeneratorSettings, {"jitter": "1e-3"}, {"jitter": 0.001}),
        (DatasetSettings, {"layout": "auto", "flip": False}, {"flip": False}),
        (EvaluationSettings, {"curve": []}, {}),
        (SelectionSettings, {}, {}),
        (AnalysisSettings, {"dtype": "float16"}, {"dtype": "float16"}),
    ],
)  # fmt: skip
def test_values_that_are_set_anyway_are_left_out(
    model: type[Settings], values: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert stated(parse_settings(model, values)) == expected


@pytest.mark.parametrize(
    "settings",
    [
        *(TrainSettings(recipe=recipe, epochs=3) for recipe in RECIPES),
        *(
            parse_settings(GeneratorSettings, {"type": name, "preset": preset, "seed": 3})
            for name, kind in TYPES.items()
            if kind.path != "required"
            for preset in kind.presets
        ),
        LabellerSettings(epochs=0.5, channels_last=False),
    ],
)
def test_what_is_left_gives_the_same_settings_again(settings: Settings) -> None:
    assert parse_settings(type(settings), stated(settings)) == settings


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"path": "my data/é's", "flip": False}, ["--path", "my data/é's", "--no-flip"]),
        ({"path": "$HOME; rm x"}, ["--path", "$HOME; rm x"]),
        ({"path": "{log}"}, ["--path", "{log}"]),
        ({"path": "-x"}, ["--path=-x"]),
        ({"curve": ("4/255", "16/255"), "autoattack": True}, ["--curve", "4/255,16/255",
                                                             "--autoattack"]),
        ({"classes": None, "curve": (), "num_samples": 5}, ["--num-samples", "5"]),
    ],
)  # fmt: skip
def test_flags_survive_the_shell(values: dict[str, Any], words: list[str]) -> None:
    assert shlex.split(flags(values)) == words


def test_a_path_with_spaces_reaches_each_verb_whole(tmp_path: Path) -> None:
    resolve = rule_inputs(
        tmp_path,
        "{datasets: {digits: {path: 'raw files/my digits'}},"
        " generators: {tiny: {type: imported, path: 'my samples', jitter: null}},"
        " analyses: {tiny: {weights: 'my weights/i.pt', extractor: inception}}}",
    )
    for text, path in (
        (str(resolve.raw_source({"dataset": "digits"})), "raw files/my digits"),
        (resolve.settings_of("generators")({"generator": "tiny"}), "my samples"),
        (resolve.analysis_flags("features")({"analysis": "tiny"}), "my weights/i.pt"),
    ):
        assert path in shlex.split(text)


def test_a_verb_of_the_analysis_gets_its_own_settings_alone(tmp_path: Path) -> None:
    resolve = rule_inputs(
        tmp_path, "{analyses: {tiny: {components: 7, splits: 3, num_images: 9, seed: 1}}}"
    )
    tiny = {"analysis": "tiny"}
    assert "--components 7" in resolve.analysis_flags("neighbours")(tiny)
    assert resolve.analysis_flags("quality")(tiny) == "--splits 3 --seed 1"
    assert resolve.analysis_flags("features")(tiny) == "--num-images 9 --seed 1"


def test_a_selection_reads_the_parts_that_it_starts_from(tmp_path: Path) -> None:
    resolve = rule_inputs(tmp_path, "{selections: {tiny: {skip_samples: 701}}}")
    parts = resolve.parts_of(paths.PART)(TINY_SELECTION)
    # 400 samples and a quarter more, in parts of 300; a part begun is skipped as a whole.
    folder = "<results>/samples/digits/tiny/parts"
    assert parts == [f"{folder}/3/manifest.json", f"{folder}/4/manifest.json"]


def test_distances_are_read_where_near_copies_are_dropped_only(tmp_path: Path) -> None:
    assert set(rule_inputs(tmp_path).near_copy_inputs(TINY_SELECTION)) == {"distances", "dataset"}
    without = rule_inputs(tmp_path, "{selections: {tiny: {min_distance: 0}}}")
    assert without.near_copy_inputs(TINY_SELECTION) == {}


def test_parts_are_handed_over_as_folders_however_many_there_are(tmp_path: Path) -> None:
    files = {
        "parts": [f"r/my parts/{part}/manifest.json" for part in range(1250)],
        "labels": [f"r/labels/x/{part}/labels.json" for part in range(1250)],
    }
    words = shlex.split(rule_inputs(tmp_path).parts_flags({}, files))
    assert words == ["--parts", "r/my parts", "--labels", "r/labels/x", "--num-parts", "1250"]


def test_training_reads_samples_where_it_uses_some(tmp_path: Path) -> None:
    resolve = rule_inputs(tmp_path)
    assert set(resolve.training_inputs(TINY_RUN)) == {"dataset", "samples"}
    assert set(resolve.training_inputs({"experiment": "tiny_no_generated"})) == {"dataset"}
    words = resolve.training_flags(TINY_RUN)
    assert words.startswith("--architecture wrn-10-1 --epsilon 32/255 --mixing-factor 0.5")
    assert "--trades-beta" not in words and "--seed" not in words


@pytest.mark.parametrize(("jobs", "count"), [(1, 0), (3, 3)])
def test_shares_are_asked_for_where_several_jobs_evaluate(
    tmp_path: Path, jobs: int, count: int
) -> None:
    resolve = rule_inputs(tmp_path, f"{{evaluation_jobs: {jobs}}}")
    files = resolve.attack_shares(
        "<results>/{experiment}/evaluation.json", lambda path: str(tmp_path / path)
    )
    assert files({"experiment": "tiny"}) == [
        f"<results>/tiny/shares/{number}-{jobs}.done" for number in range(1, count + 1)
    ]


@pytest.mark.parametrize(("whole_sets", "count"), [("true", 3), ("false", 0)])
def test_several_jobs_share_a_search_of_whole_sets_only(
    tmp_path: Path, whole_sets: str, count: int
) -> None:
    resolve = rule_inputs(
        tmp_path, f"{{search_jobs: 3, analyses: {{tiny: {{whole_sets: {whole_sets}}}}}}}"
    )
    analysis = {**TINY_SELECTION, "analysis": "tiny"}
    folder = Path(paths.fill(paths.NEIGHBOURS, analysis)).parent
    files = resolve.search_shares(lambda path: str(tmp_path / path))
    assert files(analysis) == [f"{folder}/shares/{number}-3.done" for number in range(1, count + 1)]
    # Another number of jobs repeats no search.
    note_jobs(tmp_path / folder / "shares", 2)
    (tmp_path / folder / "neighbours.json").touch()
    assert [Path(file).name for file in files(analysis)] == ["1-2.done", "2-2.done"]


@pytest.mark.parametrize("before", [1, 2])
@pytest.mark.parametrize("now", [1, 3])
def test_an_evaluation_keeps_its_shares_until_it_is_removed(
    tmp_path: Path, before: int, now: int
) -> None:
    result = tmp_path / "evaluation.json"
    first = share_files(result, before)
    note_jobs(tmp_path / "shares", len(first))
    assert share_files(result, now) == (["1-3.done", "2-3.done", "3-3.done"] if now == 3 else [])
    result.touch()
    assert share_files(result, now) == first
    result.unlink()
    assert len(share_files(result, now)) == (now if now > 1 else 0)


def test_an_evaluation_of_an_earlier_version_has_as_many_shares_as_are_asked_for(
    tmp_path: Path,
) -> None:
    (tmp_path / "evaluation.json").touch()
    assert share_files(tmp_path / "evaluation.json", 2) == ["1-2.done", "2-2.done"]


def test_the_path_names_another_evaluation_and_radius(tmp_path: Path) -> None:
    resolve = rule_inputs(tmp_path)
    own = resolve.evaluation_flags(TINY_RUN)
    named = resolve.evaluation_flags({**TINY_RUN, "evaluation": "aa_mt"})
    assert "--batch-size 24" in own
    assert named == ""
    threat = resolve.threat_of_path({"norm": "l2", "radius": "128-255"})
    assert threat == "--norm l2 --epsilon 128/255"


def test_files_become_one_flag_each_and_missing_ones_none() -> None:
    given = {"runs": ["a b/0", "a b/1"], "samples": "s/manifest.json"}
    words = shlex.split(input_flags("runs", "samples", "surrogate")({}, given))
    assert words == ["--runs", "a b/0", "--runs", "a b/1", "--samples", "s/manifest.json"]


def test_a_report_is_described_by_the_files_that_its_rule_reads(tmp_path: Path) -> None:
    reports = Reports(rule_inputs(tmp_path))
    described = reports.describe(
        {"experiment": "tiny"}, lambda path: path.replace("<results>", "out/my results")
    )
    given = parse_settings(ReportInputs, described)
    assert given.runs[1] == Path("out/my results/train/tiny/seed1/training.json")
    assert given.experiment["selection"]["name"] == "tiny"
    assert given.experiment["selection"]["min_distance"] == 0.02
    assert given.baseline and given.baseline.name == "tiny_no_generated"
    labels = Path("out/my results/samples/digits/tiny/labels/tiny")
    assert given.jobs["label"] == (labels / "0", labels / "1")
    inputs = reports.inputs({"experiment": "tiny"})
    assert set(inputs) >= {"dataset", "generator", "quality", "runs", "baseline_evaluations"}
    assert inputs["landscape"] == "<results>/landscape/tiny/landscape.json"


def test_a_report_counts_the_jobs_that_its_experiment_uses(tmp_path: Path) -> None:
    resolve = rule_inputs(tmp_path, "{selections: {tiny: {skip_samples: 600, min_distance: 0}}}")
    jobs = Reports(resolve).describe({"experiment": "tiny"}, str)["jobs"]
    assert [Path(folder).name for folder in jobs["sample"]] == ["2", "3"]
    assert "distances" not in jobs
    assert [Path(folder).name for folder in jobs["features"]] == ["train", "test", "features"]


def test_a_report_without_generated_images_reads_none(tmp_path: Path) -> None:
    reports = Reports(rule_inputs(tmp_path))
    described = reports.describe({"experiment": "tiny_no_generated"}, str)
    assert "generated" not in described and described["jobs"] == {}
    assert "samples" not in reports.inputs({"experiment": "tiny_no_generated"})


def test_a_wrong_configuration_is_one_sentence(tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    values["experiments"]["digits_linf"]["labeller"] = "vgg"
    with pytest.raises(UserError, match=r"digits_linf\.labeller: unknown name 'vgg'"):
        RuleInputs(values, tmp_path)


def test_features_are_kept_while_labelling_with_their_own_settings(tmp_path: Path) -> None:
    resolve = rule_inputs(
        tmp_path,
        "{features_while_labelling: {tiny: tiny}, analyses: {tiny: {dtype: float16, splits: 3}}}",
    )
    output = SimpleNamespace(features="my features/0/features.json")
    words = shlex.split(resolve.labelling_flags({"generator": "tiny"}, output))
    assert words == ["--features", "my features/0/features.json", "--dtype", "float16"]
    assert len(resolve.features_of_parts({**TINY_SELECTION, "analysis": "tiny"})) == 2
    assert resolve.features_of_parts({**TINY_SELECTION, "analysis": "small"}) == []


def test_a_target_reads_what_it_shows(tmp_path: Path) -> None:
    text = (ROOT / "tests/workflow/targets.yaml").read_text()
    figures = Figures(rule_inputs(tmp_path, text))
    stages = figures.inputs({"target": "tiny_stages"})
    assert stages["evaluation_0"] == ["<results>/evaluate/tiny/again/other/chosen/evaluation.json"]
    curve = figures.inputs({"target": "tiny_curve"})
    assert "/on/digits/tiny_blurred/tiny/tiny_unseen/" in curve["evaluation_0"][0]
    neighbours = figures.inputs({"target": "tiny_neighbours"})
    assert set(neighbours) == {"neighbours_0", "quality_0"}
    assert "/mixup/" in str(neighbours["quality_0"])
    described = figures.describe({"target": "tiny_curve"}, str)
    assert described["points"][0]["kind"] == "tiny_mixed"


def test_another_attack_and_unseen_samples_meet_every_seed(tmp_path: Path) -> None:
    text = (ROOT / "tests/workflow/targets.yaml").read_text()
    everything = "experiments: {tiny: {test_runs: all, seeds: [0, 1, 4], baseline: null}}"
    resolve = rule_inputs(tmp_path, text + everything)
    figures = Figures(resolve)
    # The sweep of the curve names one seed.
    for target, seeds in (("tiny_stages", (0, 1, 4)), ("tiny_curve", (0,))):
        files = figures.inputs({"target": target})["evaluation_0"]
        assert [Path(file).parent.name for file in files] == [f"seed{seed}" for seed in seeds]
    assert resolve.model_of_run({"experiment": "tiny", "evaluation": "other", "run": "seed4"}) == (
        "<results>/train/tiny/seed4/training.json"
    )


def test_training_without_generated_images_has_no_neighbours_in_a_table() -> None:
    config = read_config([ROOT / "config/config.yaml", ROOT / "config/targets.yaml"])
    figures = Figures(RuleInputs(config.model_dump(mode="json"), ROOT / "config/sweeps"))
    inputs = set(figures.inputs({"target": "table1_small"}))
    assert {"evaluation_0", "evaluation_1", "neighbours_1"} <= inputs
    assert "neighbours_0" not in inputs
    curves = figures.inputs({"target": "overfitting_small"})
    assert set(curves) == {"training_0", "training_1", "training_2"}
    assert len(curves["training_2"]) == 4


def test_settings_of_equal_value_have_equal_flags() -> None:
    one = parse_settings(TrainSettings, {"epochs": 400, "learning_rate": "0.1"})
    assert settings_flags(one) == settings_flags(TrainSettings()) == ""


def test_own_code_is_an_input_of_the_rules_that_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("own_data_x", "own_model_x", "own_generator_x", "own_objective_x"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not to be run here')\n")
    changes = {
        "datasets": {"digits": {"layout": "own_data_x:read"}},
        "generators": {"tiny": {"type": "own_generator_x:Own", "preset": "paper"}},
        "experiments": {
            "tiny": {
                "architecture": "own_model_x:Own",
                "training": {"objective": "own_objective_x:Own"},
            }
        },
    }
    resolve = rule_inputs(tmp_path, yaml.safe_dump(changes))
    inputs = resolve.training_inputs(TINY_RUN)
    assert inputs["code"] == ["own_model_x.py", "own_objective_x.py"]
    assert resolve.generator_files(TINY_SELECTION)[-1] == "own_generator_x.py"
    assert resolve.check_raw(str)({"dataset": "digits"}) == ["own_data_x.py"]
    assert own_files("torchvision.models:resnet18", "trades", "no_such_module:Own") == []


def test_a_sweep_without_a_target_is_named(tmp_path: Path) -> None:
    refuse = rule_inputs(tmp_path, "targets: {}").refuse_unknown("targets")
    (table,) = sorted((ROOT / "tests/workflow/sweeps").glob("*.tsv"))[:1]
    with pytest.raises(UserError, match=rf"no target '{table.stem}': .*/{table.name} becomes"):
        refuse({"unknown": table.stem})
    with pytest.raises(UserError, match=r"no target 'nothing': add it under 'targets'$"):
        refuse({"unknown": "nothing"})

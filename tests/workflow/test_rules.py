"""Each rule by itself, as `snakemake --generate-unit-tests` tests it on the tiny experiment.

The generator keeps the declared inputs and outputs of one job of each rule. A test of its making
runs that job in an empty folder and compares its outputs byte by byte. Three things are mended
here. A stage is a folder and the file that a rule names is its index: the inputs' folders are
completed, and the weights and tables beside an index are compared as well. What holds seconds and
megabytes is not compared. And the generator gives one thread, where a training's last bits depend
on the number, and names the Snakefile's own configuration last, where it would win over the tiny
experiment.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.workflow.running import RECORD, TABLE_FILES, TABLES_CONFIG, Project, snakemake

pytestmark = pytest.mark.slow

RULES = (
    "make_dataset",
    "train_labeller",
    "fit_generator",
    "sample_part",
    "label_part",
    "measure_distances",
    "select_samples",
    "train_robust",
    "choose_run",
    "attack_share",
    "evaluate_run",
    "evaluate_labeller",
    "map_landscape",
    "extract_original_features",
    "extract_generated_features",
    "search_share",
    "find_neighbours",
    "measure_quality",
    "describe_experiment",
    "report_experiment",
    "compare_experiments",
    "label_and_extract_part",
    "mix_samples",
    "augment_images",
    "evaluate_on_samples",
    "describe_target",
    "make_target",
)

# The whole test suite depends on the first, the second only counts shares, and the others are
# `attack_share`, `gather_shares` and `evaluate_run` with other paths.
NOT_RUN = (
    "build_core",
    "gather_shares",
    *("attack_share_again", "gather_shares_again", "evaluate_again", "gather_search_shares"),
)

# Results beside the index of a stage, whose hashes it does not hold.
BESIDE = {
    "train_labeller": "model.safetensors",
    "train_robust": "model.safetensors",
    "choose_run": "model.safetensors",
    "evaluate_run": "rows.parquet",
    "evaluate_labeller": "rows.parquet",
    "evaluate_on_samples": "rows.parquet",
    "find_neighbours": "neighbours.parquet",
}
OF_THIS_RUN = ("tiny.cost.json", "tiny.html")


@pytest.fixture(scope="module")
def generated(with_tables: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the project with its tables and the generated tests in `unit/`."""
    project = tmp_path_factory.mktemp("rules") / "project"
    shutil.copytree(with_tables, project)
    run = snakemake(
        project, "--generate-unit-tests", "unit",
        targets=(RECORD, *TABLE_FILES), overlays=(TABLES_CONFIG,),
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    for rule in RULES:
        run_as_the_experiment_ran(project / "unit" / f"test_{rule}.py")
        complete_inputs(project, project / "unit" / rule / "data")
        complete_outputs(project, project / "unit" / rule / "expected", BESIDE.get(rule))
    return project


def run_as_the_experiment_ran(test: Path) -> None:
    """Give as many threads, and leave out the configuration that the Snakefile reads by itself."""
    lines = test.read_text().replace('"-j1"', '"-j2"').splitlines(keepends=True)
    own = ("config/config.yaml", "config/targets.yaml")
    test.write_text("".join(line for line in lines if line.strip(' ",\n') not in own))


def complete_inputs(project: Project, data: Path) -> None:
    """Bring the whole folder of every index of a stage."""
    for index in list(data.rglob("*.json")):
        folder = index.parent.relative_to(data)
        shutil.copytree(
            project / folder, data / folder, dirs_exist_ok=True,
            ignore=shutil.ignore_patterns(".lock", index.name),
        )  # fmt: skip


def complete_outputs(project: Project, expected: Path, beside: str | None) -> None:
    """Add what is compared beside the declared outputs, and take away what no two runs share."""
    for name in OF_THIS_RUN:
        (expected / "results" / name).unlink(missing_ok=True)
    if beside is not None:
        for index in list(expected.rglob("*.json")):
            folder = index.parent.relative_to(expected)
            shutil.copy(project / folder / beside, index.parent)


def test_a_test_is_generated_for_every_rule(generated: Project) -> None:
    made = {path.stem.removeprefix("test_") for path in (generated / "unit").glob("test_*.py")}
    assert made == {*RULES, *NOT_RUN}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_makes_the_same_bytes_from_its_inputs_alone(generated: Project, rule: str) -> None:
    # Its job runs in another folder, and finds the package of this copy by this alone.
    environment = {**os.environ, "PYTHONPATH": str(generated)}
    run = subprocess.run(
        ["python", "-m", "pytest", "-q", f"unit/test_{rule}.py"], cwd=generated, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-6000:]

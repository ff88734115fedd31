"""The smallest tables over the tiny experiment, and the rules that only tables need, for real."""

import csv
import shutil

import pytest

from tests.workflow.running import ROOT, Project, snakemake

pytestmark = pytest.mark.slow

# What only these targets need; each leaves a log.
RULES = (
    "augment_images",
    "compare_experiments",
    "evaluate_again",
    "evaluate_on_samples",
    "label_and_extract_part",
    "make_target",
    "mix_samples",
)
TARGETS = ("tiny_stages", "tiny_curve", "tiny_neighbours")
FILES = (*(f"results/paper/{target}.csv" for target in TARGETS), "results/report.html")
OVERLAY = "tests/workflow/targets.yaml"


@pytest.fixture(scope="module")
def made(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the finished project in which the targets were made."""
    project = tmp_path_factory.mktemp("targets") / "project"
    shutil.copytree(finished, project)
    for sweep in (ROOT / "tests/workflow/sweeps").glob("*.tsv"):
        shutil.copy(sweep, project / "config/sweeps")
    run = snakemake(project, targets=FILES, overlays=(OVERLAY,))
    assert run.returncode == 0, run.stdout[-6000:]
    return project


def rows_of(project: Project, target: str) -> list[dict[str, str]]:
    with (project / f"results/paper/{target}.csv").open() as table:
        return list(csv.DictReader(table))


def test_every_rule_of_the_tables_ran(made: Project) -> None:
    for rule in RULES:
        logs = [path for path in (made / "logs" / rule).rglob("*.log") if path.is_file()]
        assert logs or (made / f"logs/{rule}.log").is_file(), rule


def test_another_evaluation_of_the_chosen_run_stands_in_a_table(made: Project) -> None:
    (row,) = rows_of(made, "tiny_stages")
    assert row["experiment"] == "tiny"
    assert 0 <= float(row["after_aa_mt_multitargeted"]) <= float(row["after_clean"]) <= 1
    assert (made / "results/evaluate/tiny/again/other/evaluation.json").is_file()


def test_a_classifier_of_a_mixture_is_attacked_on_unseen_samples(made: Project) -> None:
    (row,) = rows_of(made, "tiny_curve")
    assert (row["generator"], row["mixture_share"]) == ("tiny_mixed", "0.5")
    assert (row["tested_on"], row["num_images"]) == ("tiny_blurred", "50")


def test_augmented_images_have_neighbours(made: Project) -> None:
    (row,) = rows_of(made, "tiny_neighbours")
    shares = [float(row[f"complementarity_{name}"]) for name in ("train", "test", "self")]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert row["generator"] == "mixup"


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.parametrize("target", TARGETS)
def test_each_table_has_its_figure(made: Project, target: str, ending: str) -> None:
    assert (made / f"results/paper/{target}.{ending}").stat().st_size > 1000


def test_the_page_of_all_experiments_links_to_theirs(made: Project) -> None:
    assert 'href="tiny.html"' in (made / "results/report.html").read_text()

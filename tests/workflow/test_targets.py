"""The smallest tables over the tiny experiment, for real."""

import csv

import pytest

from tests.workflow.running import TABLES, Project

pytestmark = pytest.mark.slow


def rows_of(project: Project, target: str) -> list[dict[str, str]]:
    with (project / f"results/paper/{target}.csv").open() as table:
        return list(csv.DictReader(table))


def test_another_evaluation_of_the_chosen_run_is_in_a_table(with_tables: Project) -> None:
    (row,) = rows_of(with_tables, "tiny_stages")
    assert row["experiment"] == "tiny"
    assert 0 <= float(row["after_aa_mt_multitargeted"]) <= float(row["after_clean"]) <= 1
    assert (with_tables / "results/evaluate/tiny/again/other/chosen/evaluation.json").is_file()


def test_a_classifier_of_a_mixture_is_attacked_on_unseen_samples(with_tables: Project) -> None:
    (row,) = rows_of(with_tables, "tiny_curve")
    assert (row["generator"], row["mixture_share"]) == ("tiny_mixed", "0.5")
    assert (row["tested_on"], row["num_images"]) == ("tiny_blurred", "50")


def test_augmented_images_have_neighbours(with_tables: Project) -> None:
    (row,) = rows_of(with_tables, "tiny_neighbours")
    shares = [float(row[f"complementarity_{name}"]) for name in ("train", "test", "self")]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert row["generator"] == "mixup"


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.parametrize("target", TABLES)
def test_each_table_has_its_figure(with_tables: Project, target: str, ending: str) -> None:
    assert (with_tables / f"results/paper/{target}.{ending}").stat().st_size > 1000


def test_the_page_of_all_experiments_links_to_theirs(with_tables: Project) -> None:
    assert 'href="tiny.html"' in (with_tables / "results/report.html").read_text()

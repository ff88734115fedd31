"""`snakemake --report` bundles what was made, with captions and the workflow's description."""

import zipfile
from pathlib import Path

import pytest

from tests.workflow.running import RECORD, Project, snakemake

pytestmark = pytest.mark.slow


def test_the_report_has_record_and_page_with_their_captions(
    finished: Project, tmp_path: Path
) -> None:
    run = snakemake(finished, "--report", str(tmp_path / "report.zip"))
    assert run.returncode == 0, run.stdout[-6000:]
    with zipfile.ZipFile(tmp_path / "report.zip") as bundle:
        files = {Path(name).name: name for name in bundle.namelist()}
        assert {"report.html", "tiny.json", "tiny.html"} <= files.keys()
        assert bundle.read(files["tiny.json"]) == (finished / RECORD).read_bytes()
        report = bundle.read(files["report.html"]).decode()
    for words in (
        "after <a",  # the description is reStructuredText: the paper is a link
        "(digits, linf, radius 32/255)",
        "Record of tiny",
        "Experiments",
        "train_robust",
    ):
        assert words in report, words

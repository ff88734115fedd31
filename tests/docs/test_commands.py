"""Every command in README, docs and comments of the configuration is run, planned or parsed, or
listed with the reason why not."""

import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image

from pyrobust.cli import app
from tests.workflow.running import ROOT, Project

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("docs/*.md"))]
COMMENTED = [*sorted(ROOT.glob("config/*.yaml")), *sorted(ROOT.glob("profiles/*/*.yaml"))]
PROGRAMS = ("snakemake", "pyrobust", "python", "make", "source", "docker", "apptainer", "torchrun",
            "pip", "pytest", "bash", "git")  # fmt: skip

# Commands that no test runs, by how they start, and why.
NOT_RUN = {
    "git clone": "the address is the reader's",
    "make core": "builds the core, which the tests stand on: tests/ops/test_builds.py",
    "make install": "minutes of a fresh environment",
    "make demo": "minutes of a fresh environment; the demo's experiment is planned below",
    "make test": "runs this test",
    "snakemake --report": "bundles what was made before: tests/workflow/test_report.py",
    "source .venv/bin/activate": "the tests run inside that environment",
    "pip download": "downloads from the package index",
    "pip install": "installs a file of the reader's",
    "pip wheel": "builds the core again",
    "docker": "no container runtime at hand",
    "apptainer": "no container runtime at hand",
    "torchrun": "several processes: tests/training",
    "pytest": "runs this test, too",
    "python setup.py": "builds the core, which the tests stand on: tests/ops/test_builds.py",
    "python benchmarks": "benchmarks are run by hand",
    "bash benchmarks": "benchmarks are run by hand",
}


def commands(page: Path) -> list[str]:
    """Return the lines of code blocks that start with a program, continuation lines joined, and
    whole commands within a sentence: those with arguments and without gaps."""
    text = page.read_text().replace("\\\n", " ")
    fenced = re.findall(r"^```[a-z]*\n(.*?)^```$", text, re.M | re.S)
    indented = re.findall(r"^ {4,}\S.*$", text, re.M)
    lines = [line.strip() for block in [*fenced, *indented] for line in block.splitlines()]
    inline = re.findall(r"`(\w+ [^`<]+)`", text.replace("```", ""))
    lines += [line for line in inline if "..." not in line and line not in lines]
    return [line for line in lines if line.split(" ")[0] in PROGRAMS]


def commented(file: Path) -> list[str]:
    """Return the comments of a file that start with a program."""
    lines = re.findall(r"^ *# *(\S.*)$", file.read_text(), re.M)
    return [line for line in lines if line.split(" ")[0] in PROGRAMS]


ALL = [
    (file.relative_to(ROOT).as_posix(), line)
    for files, find in ((PAGES, commands), (COMMENTED, commented))
    for file in files
    for line in find(file)
]


def of(*programs: str) -> list[tuple[str, str]]:
    return [
        (page, line)
        for page, line in ALL
        if line.startswith(programs) and not line.startswith(tuple(NOT_RUN))
    ]


SNAKEMAKE = list({line: (page, line) for page, line in of("snakemake")}.values())
VERBS = of("pyrobust ", "python -m pyrobust ")
MODULES = of("python -m pyrobust.")


def test_each_command_is_tried_in_one_way_or_is_in_the_list() -> None:
    tried = {*of("snakemake"), *VERBS, *MODULES}
    left = [
        entry for entry in ALL if entry not in tried and not entry[1].startswith(tuple(NOT_RUN))
    ]
    assert not left
    assert len(tried) > 15


def test_the_list_has_nothing_that_is_not_shown() -> None:
    shown = [line for _, line in ALL]
    unused = {start for start in NOT_RUN if not any(line.startswith(start) for line in shown)}
    assert unused <= {"torchrun", "python setup.py", "python benchmarks", "bash benchmarks"}


@pytest.mark.parametrize(("page", "line"), VERBS)
def test_verbs_take_the_options_that_are_shown(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    arguments = words[1:] if words[0] == "pyrobust" else words[3:]
    if "--help" in arguments or arguments[0].startswith("<"):
        return
    verb, *options = arguments
    verbs = getattr(typer.main.get_command(app), "commands")  # noqa: B009
    assert verb in verbs, (page, line)
    known = {name for option in verbs[verb].params for name in option.opts + option.secondary_opts}
    given = {option.split("=")[0] for option in options if option.startswith("--")}
    assert given <= known, (page, line)


@pytest.mark.parametrize(("page", "line"), MODULES)
def test_modules_that_are_shown_can_be_run(page: str, line: str) -> None:
    found = importlib.util.find_spec(line.split()[2])
    assert found and found.origin, (page, line)
    assert "__main__" in Path(found.origin).read_text(), (page, line)


# Overlays that pages show, and a pattern for the section that each begins with.
OVERLAYS = {"mine.yaml": "(?:datasets|targets)", "edm.yaml": "generators"}


def write_images(folder: Path) -> None:
    """Write a data set that is large enough for the default validation split."""
    pixel = io.BytesIO()
    Image.new("RGB", (1, 1)).save(pixel, "png")
    folder.mkdir(parents=True)
    for split, count in (("train", 2000), ("test", 10)):
        labels = [number % 10 for number in range(count)]
        images = [{"bytes": pixel.getvalue()}] * count
        pq.write_table(pa.table({"image": images, "label": labels}), folder / f"{split}.parquet")


def targets_alone(line: str) -> list[str]:
    """Return the targets of `snakemake --cores all TARGETS`, and nothing for other commands."""
    start, _, targets = line.split("#")[0].partition(" all ")
    alone = start == "snakemake --cores" and not re.search("(^| )-", targets)
    return targets.split() if alone else []


PLAIN = [(page, line) for page, line in SNAKEMAKE if targets_alone(line)]
TOGETHER = [target for _, line in PLAIN for target in targets_alone(line)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("all", f"snakemake --cores all {' '.join(TOGETHER)}"),
        *(entry for entry in SNAKEMAKE if entry not in PLAIN),
    ],
)
def test_snakemake_plans_what_is_shown(page: str, line: str, tmp_path: Path) -> None:
    words = shlex.split(line.split("#")[0])
    (samples := tmp_path / "samples").mkdir()
    (samples / "1m.npz").touch()
    for overlay, first in OVERLAYS.items():
        if overlay in words:
            block = rf"^```yaml\n({first}:.*?)^```"
            contents, *_ = re.findall(block, (ROOT / page).read_text(), re.M | re.S)
            (tmp_path / overlay).write_text(contents.replace("resources/edm", str(samples)))
            words[words.index(overlay)] = str(tmp_path / overlay)
    if "--config" not in words:
        for name in ("tinyimagenet", "flowers"):  # nothing can download these
            write_images(tmp_path / "raw" / name)
        words += ["--config", f"data_root={tmp_path / 'raw'}"]
    if "profiles/mine" in words:
        return
    if "--use-conda" in words and not shutil.which("conda"):
        pytest.skip("no conda: tests/workflow/test_conda.py runs this with a stand-in")
    if "apptainer" in words and not shutil.which("apptainer"):
        pytest.skip("no apptainer: tests/workflow/test_deployment.py runs this with a stand-in")
    run = subprocess.run(
        [words[0], "--quiet", "all", "--dry-run", *words[1:]], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, (page, line, run.stdout[-2000:])


@pytest.mark.slow
def test_the_commands_of_the_readme_run_one_after_another(project: Project) -> None:
    lines = [line for page, line in VERBS if page == "README.md"]
    runnable = [
        line
        for line in lines
        if "resnet18.pt" not in line and not {"--plan", "--help"} & set(line.split())
    ]
    assert [line.split()[1] for line in runnable] == ["dataset", "train-labeller", "evaluate"]
    for line in runnable:
        arguments = [sys.executable, "-m", *shlex.split(line)]
        done = subprocess.run(arguments, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
    assert (project / "results/try/evaluation/evaluation.json").is_file()

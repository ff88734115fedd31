"""What the pages show is a valid configuration; files and names that they point to exist."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyrobust.config.attacks import ATTACKS, METHODS
from pyrobust.config.experiment import parse_config
from pyrobust.config.generator_types import TYPES
from pyrobust.models.published import PUBLISHED
from tests.workflow.running import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [
    (page.name, block)
    for page in PAGES
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.M | re.S)
]


def laid_over(values: Any, overlay: Any) -> Any:
    """Return `overlay` over `values`, as snakemake's --configfile lays it."""
    if not isinstance(values, dict) or not isinstance(overlay, dict):
        return overlay
    merged = copy.copy(values)
    for key, value in overlay.items():
        merged[key] = laid_over(values.get(key), value)
    return merged


@pytest.mark.parametrize(("page", "block"), EXAMPLES)
def test_each_configuration_that_is_shown_is_accepted(page: str, block: str) -> None:
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    parse_config(laid_over(values, yaml.safe_load(block)))


def test_there_are_examples() -> None:
    assert {page for page, _ in EXAMPLES} >= {"data.md", "extending.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:pyrobust|tests|csrc|docs|workflow|config|profiles|envs|benchmarks)/[\w./-]*)`",
        page.read_text(),
    )
    named += re.findall(r"\]\((?!http)([\w./-]+)(?:#[\w-]+)?\)", page.read_text())
    missing = {
        path
        for path in named
        if not any((folder / path).exists() for folder in (ROOT, page.parent))
    }
    assert not missing


def test_published_checkpoints_are_listed() -> None:
    text = (ROOT / "docs/evaluation.md").read_text()
    rows = re.findall(r"^\| `(\w[\w-]*)` \| (?:ℓ∞|ℓ2) [\d/]+ \| (?:PreAct)?([\w-]+) \|", text, re.M)
    listed = [(name, network.lower()) for name, network in rows]
    assert listed == [(name, model.spec.architecture) for name, model in PUBLISHED.items()]


NAMES = (
    "LAYOUTS", "detect_layout", "TYPES", "RECIPES", "attack_departures",
    "TrainedGenerator", "BlockGenerator",
)  # fmt: skip


@pytest.mark.parametrize("word", NAMES)
def test_names_in_extending_exist_in_the_code(word: str) -> None:
    assert f"`{word}`" in (ROOT / "docs/extending.md").read_text()
    sources = (path.read_text() for path in (ROOT / "pyrobust").rglob("*.py"))
    assert any(re.search(rf"^(def|class) {word}\b|^{word}\b", text, re.M) for text in sources)


def test_every_type_of_generator_is_on_its_page() -> None:
    table = (ROOT / "docs/generators.md").read_text().split("\n## ")[0]
    first_cells = re.findall(r"^\| (`[^|]*) \|", table, re.M)
    assert set(re.findall(r"`(\w+)`", " ".join(first_cells))) == set(TYPES)
    counted = len(TYPES) - 1  # without imported samples
    assert f"{counted} model types" in (ROOT / "README.md").read_text()


def test_every_attack_is_on_the_pages() -> None:
    page, python = ((ROOT / f"docs/{name}.md").read_text() for name in ("evaluation", "python"))

    def named(pattern: str, text: str) -> set[str]:
        (found,) = re.findall(pattern, text, re.M)
        return set(re.findall(r"`(\w+)`", found))

    assert set(ATTACKS) - {"aa_mt"} <= named(r"`--attack` selects another attack: .*", page)
    assert set(ATTACKS) <= named(r"^\| `attack` \| .*", python)
    assert set(METHODS) <= named(r"^`method` is [^.]*", python)

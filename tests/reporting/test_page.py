"""The page is whole, accessible and needs nothing from outside."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pyrobust.config.report import ReportInputs
from pyrobust.errors import UserError
from pyrobust.files import read_json, write_json
from pyrobust.reporting.page import Origin
from pyrobust.reporting.report import Outputs, write_report
from pyrobust.reporting.stage_results import parse_experiment
from tests.reporting.fixtures import experiment_values, without_baseline

VOID = {"meta", "img", "br", "link", "input", "hr", "path", "use", "rect"}
ORIGIN = Origin("snakemake --cores all x.json --configfile 'my file.yaml'", "c0ffee")


class Page(HTMLParser):
    """Collects elements and notes tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.mistakes: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.mistakes += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.mistakes.append(f"</{tag}> closes something else at {self.getpos()}")

    def having(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def write(inputs: ReportInputs, target: Path) -> Outputs:
    outputs = Outputs(target / "x.json", target / "x.cost.json", target / "x.html")
    write_report(inputs, outputs, ORIGIN)
    return outputs


@pytest.fixture(scope="module")
def html(finished: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(finished, tmp_path_factory.mktemp("page")).page.read_text(encoding="utf-8")


def test_two_builds_are_equal_byte_for_byte(finished: ReportInputs, tmp_path: Path) -> None:
    first, second = (write(finished, tmp_path / name) for name in ("first", "second"))
    for key in ("record", "cost", "page"):
        assert getattr(first, key).read_bytes() == getattr(second, key).read_bytes(), key


def test_every_tag_is_closed_where_it_was_opened(html: str) -> None:
    assert Page(html).mistakes == []


def test_the_page_loads_nothing_from_outside(html: str) -> None:
    page = Page(html)
    sources = [
        value
        for _, attributes in page.elements
        for key, value in attributes.items()
        if key in ("src", "href", "xlink:href", "srcset", "data") and value
    ]
    assert sources
    allowed = ("#", "data:image/png;base64,", "data:image/svg+xml;base64,", "data:text/csv;base64,")
    assert all(source.startswith(allowed) for source in sources)
    assert not page.having("script") and not page.having("link")
    assert not re.search(r"url\((?!#)|@import", html)


def test_every_picture_has_words_for_those_who_do_not_see_it(html: str) -> None:
    page = Page(html)
    assert page.having("img") and all(image.get("alt") for image in page.having("img"))
    figures = page.having("svg")
    assert figures and all(svg["role"] == "img" and svg["aria-label"] for svg in figures)


def test_tables_name_their_rows_and_columns(html: str) -> None:
    page = Page(html)
    assert page.having("table")
    assert all(header.get("scope") in ("row", "col") for header in page.having("th"))


def test_ids_are_unique_and_links_find_them(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for link in page.having("a"):
        assert link["href"].startswith("data:") or link["href"].removeprefix("#") in ids
    assert set(re.findall(r"url\(#([\w-]+)\)", html)) <= set(ids)


def test_a_keyboard_reaches_what_can_be_used_and_sees_where_it_is(html: str) -> None:
    page = Page(html)
    links = page.having("a")
    assert (links[0]["class"], links[0]["href"]) == ("skip", "#result")
    focusable = [
        attributes["tabindex"] for _, attributes in page.elements if "tabindex" in attributes
    ]
    assert set(focusable) == {"0"}  # in the order of the page
    scrolling = [each for each in page.having("div") if each.get("class") == "scroll"]
    assert scrolling and all(each.get("tabindex") == "0" for each in scrolling)
    assert len(page.having("details")) == len(page.having("summary")) > 0
    assert re.search(r":focus-visible \{ outline: 3px solid", html)
    assert not re.search(r"outline(-width)?: *(none|0)", html)


def test_the_page_names_its_language_and_fits_a_phone(html: str) -> None:
    page = Page(html)
    assert page.having("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.having("meta"))


@pytest.mark.parametrize(
    "sentence",
    [
        "62.0%",
        "differ by +16.0 points in robust accuracy on these 200 images",
        "This is not the paper's attack.",
        "Labeller features, not those of published FID. Note: few images.",
        "no evidence about generated data",
        "No sign of it: of 200 generated images, 31.0% are nearest to a training image",
        "so it is optimistic; the second is not.",
        "standard deviation 3.5 points\n(an interval requires three runs that differ)",
        "± is the standard deviation over\n10 splits of the images",
        "Result as CSV or LaTeX",
        r"\begin{tabular}",
        "Not recorded: sample, label, features, landscape.",
        "Complementarity of the generated images of each class",
        "Of 375 samples,\n7 were closer than\n0.05 to a training image",
    ],
)
def test_the_page_says(html: str, sentence: str) -> None:
    said = html.replace("&#39;", "'")
    assert sentence.lower() in said.lower()


def test_the_command_and_the_commit_are_on_the_page(html: str) -> None:
    assert "<code>snakemake --cores all x.json --configfile &#39;my file.yaml&#39;</code>" in html
    assert '<th scope="row">commit of this report</th><td><code>c0ffee</code></td>' in html


def test_an_experiment_without_generated_data_has_a_page(
    inputs: ReportInputs, tmp_path: Path
) -> None:
    for run in inputs.runs:
        training = read_json(run, "")
        training["settings"]["mixing_factor"] = 1.0
        write_json(run, training)
    outputs = Outputs(tmp_path / "x.json", tmp_path / "x.cost.json", tmp_path / "x.html")
    alone = without_baseline(inputs, generated=None, experiment=experiment_values(mixing_factor=1))
    write_report(alone, outputs, ORIGIN)
    page = Page(outputs.page.read_text(encoding="utf-8"))
    assert page.mistakes == []
    assert not any(attributes.get("id") == "generator" for _, attributes in page.elements)


@pytest.mark.parametrize(
    ("missing", "verb"),
    [
        ("dataset/dataset.json", "pyrobust dataset"),
        ("labeller/labeller.json", "pyrobust train-labeller"),
        ("train/seed0/training.json", "pyrobust train"),
        ("train/seed1/log.jsonl", "pyrobust train"),
        ("train/choice.json", "pyrobust choose"),
        ("evaluate/seed1/evaluation.json", "pyrobust evaluate"),
        ("evaluate/seed1/rows.parquet", "pyrobust evaluate"),
        ("evaluate/labeller/evaluation.json", "pyrobust evaluate"),
        ("landscape/landscape.json", "pyrobust landscape"),
        ("generator/generator.json", "pyrobust fit-generator"),
        ("samples/manifest.json", "pyrobust select"),
        ("analysis/neighbours.json", "pyrobust neighbours"),
        ("analysis/neighbours.parquet", "pyrobust neighbours"),
        ("analysis/quality.json", "pyrobust quality"),
    ],
)
def test_a_missing_file_is_one_sentence_that_names_the_verb(
    inputs: ReportInputs, tmp_path: Path, missing: str, verb: str
) -> None:
    (tmp_path / missing).unlink()
    with pytest.raises(UserError) as refusal:
        write(inputs, tmp_path / "results")
    assert verb in str(refusal.value)
    assert missing.rsplit("/", 1)[1] in str(refusal.value)
    assert not (tmp_path / "results").exists()


def test_an_approximate_search_is_reported(inputs: ReportInputs, tmp_path: Path, html: str) -> None:
    assert "The search was approximate" not in html
    assert inputs.generated is not None
    path = inputs.generated.neighbours
    check = {
        "num_checked": 1000,
        "recall": {"train": 0.9, "test": 0.95, "self": 0.5},
        "complementarity_bias": {"train": 0.04, "test": 0.06, "self": -0.1},
    }
    write_json(path, read_json(path, "") | {"approximate": check})
    page = write(inputs, tmp_path / "results").page.read_text(encoding="utf-8")
    assert "an exact search for\n1,000 of the" in page
    assert "in train for 90.0%, in test for 95.0%, in self for 50.0%, which" in page
    assert "complementarity by +4.0, +6.0, −10.0 points." in page
    assert Page(page).mistakes == []


def test_whole_sets_are_held_against_shares_by_their_size(
    inputs: ReportInputs, tmp_path: Path
) -> None:
    assert inputs.generated
    path = inputs.generated.neighbours
    sizes = {"train": 400, "test": 100, "self": 500}
    write_json(path, read_json(path, "") | {"set_sizes": sizes})
    page = write(inputs, tmp_path).page.read_text(encoding="utf-8")
    ideal = page.partition('<th scope="row">Ideal</th>')[2].partition("</tr>")[0]
    assert re.findall(r"[0-9.]+%", ideal) == ["40.0%", "10.0%", "50.0%"]


def test_the_training_of_a_generator_is_drawn_where_there_was_one(
    finished: ReportInputs, tmp_path: Path, html: str
) -> None:
    assert "Training of the generator" not in html
    assert finished.generated is not None
    folder = tmp_path / "generator"
    shutil.copytree(finished.generated.generator.parent, folder)
    lines = [{"step": k, "epoch": 0.1 * k, "loss": 1 / k, "skipped": 0.0} for k in (10, 20)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    generated = finished.generated.model_copy(update={"generator": folder / "generator.json"})
    trained = experiment_values(generator={"name": "ddpm_tiny", "type": "ddpm", "preset": "tiny"})
    outputs = Outputs(tmp_path / "x.json", tmp_path / "x.cost.json", tmp_path / "x.html")
    settings = parse_experiment("x", trained).sections["generator"]
    facts = read_json(generated.generator, "") | {"settings": settings}
    write_json(generated.generator, facts)
    inputs = without_baseline(finished, generated=generated, experiment=trained)
    write_report(inputs, outputs, ORIGIN)
    page = outputs.page.read_text(encoding="utf-8")
    assert "Training of the generator" in page
    assert "3,000 steps in batches of\n64." in page
    assert Page(page).mistakes == []

"""The page of an experiment: one HTML file that needs nothing else."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pyrobust import __version__
from pyrobust.config import parse_epsilon
from pyrobust.data.dataset import Dataset
from pyrobust.data.store import SampleStore
from pyrobust.evaluation.describe import NOT_TRUSTED
from pyrobust.reporting import claims, downloads, figure_style, tables, wording
from pyrobust.reporting.accuracies import read_rows
from pyrobust.reporting.charts import (
    accuracy_chart,
    attack_chart,
    neighbour_chart,
    robustness_curve,
)
from pyrobust.reporting.images import class_grid, nearest_originals
from pyrobust.reporting.landscapes import landscape
from pyrobust.reporting.overfitting import overfitting_chart
from pyrobust.reporting.published_results import quality_of
from pyrobust.reporting.stage_results import Stages
from pyrobust.reporting.training_curves import (
    accuracy_curves,
    generator_curves,
    loss_curves,
    read_log,
)


@dataclass(frozen=True)
class Origin:
    """What leads to the page again."""

    command: str
    commit: str | None
    """None where the code is in no checkout of git."""


def css() -> str:
    """Return the style sheet of a page, in a light and a dark theme."""
    style = (Path(__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    return (
        f":root {{ {figure_style.as_css(figure_style.LIGHT)} }}\n"
        "@media screen and (prefers-color-scheme: dark) "
        f"{{ :root {{ {figure_style.as_css(figure_style.DARK)} }} }}\n{style}"
    )


def environment() -> Environment:
    """Return the templates, which refuse names that they are not given."""
    templates = Environment(
        loader=PackageLoader("pyrobust.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["not_trusted"] = NOT_TRUSTED
    templates.filters.update(
        percent=wording.percent,
        setting=wording.setting,
        interval=wording.interval,
        points=wording.points,
        points_interval=wording.points_interval,
        unsigned_points=wording.unsigned_points,
        svg_file=downloads.svg_file,
        data_uri=downloads.data_uri,
        duration=wording.duration,
        norm_name=wording.norm_name,
        cascade_name=wording.cascade_name,
    )
    return templates


def render(template: str, **values: Any) -> str:
    """Return the page of a template; equal values give equal pages."""
    page = environment().get_template(template)
    return page.render(css=css(), version=__version__, **values)


# Classes that the chart shows; the table contains all of them.
_MAX_CHARTED = 20

Record = dict[str, Any]


def build_page(record: Record, stages: Stages, cost: dict[str, Any], origin: Origin) -> str:
    """Return the page of an experiment.

    Raises:
        UserError: a file that the page shows is missing or damaged.
    """
    class_names = stages.dataset["class_names"]
    classes = tables.class_rows(read_rows(stages.tested.chosen), class_names)
    return render(
        "page.html.j2",
        record=record,
        claims=claims,
        record_json=json.dumps(record["settings"], indent=2, sort_keys=True),
        result_csv=downloads.as_csv(downloads.result_table(record)),
        result_latex=downloads.as_latex(downloads.result_table(record)),
        attack_rows=tables.attack_rows(record),
        attack_chart=attack_chart(record, record["labeller"]["attack_check"]),
        curve_chart=robustness_curve(record) if record["curve"] else None,
        published_rows=tables.published_rows(record),
        setting_groups=tables.setting_rows(record),
        class_rows=classes,
        headline_chart=accuracy_chart(
            tables.headline_rows(record), "Clean and robust accuracy, compared with the labeller's"
        ),
        num_charted=min(len(classes), _MAX_CHARTED),
        class_chart=accuracy_chart(
            tables.weakest(classes, _MAX_CHARTED), "Clean and robust accuracy of each class"
        ),
        runs=_runs(record, stages),
        overfitting_chart=record["overfitting"] and overfitting_chart(record["overfitting"]),
        landscapes=_landscapes(stages),
        sources=stages.dataset["sources"],
        cost=cost,
        origin=origin,
        **_images(record, stages),
    )


def _images(record: Record, stages: Stages) -> dict[str, Any]:
    """Return what the page shows of original and of generated images."""
    original = Dataset.open(stages.inputs.dataset.parent).train
    inputs = stages.inputs.generated
    if inputs is None:
        return {
            "class_grid": class_grid(original, None),
            "num_classes": len(original.class_names),
            "nearest": None,
            "neighbour_chart": None,
            "ideal": None,
            "class_neighbours": None,
            "generator_curves": None,
            "paper_quality": None,
        }
    assert stages.generated is not None
    generated = SampleStore.open(inputs.samples.parent)
    settings = record["settings"]
    quality = record["generator"]["quality"]
    neighbours = record["generator"]["neighbours"]
    # An image is as likely nearest to one set as to another in proportion to their sizes.
    sizes = neighbours["set_sizes"]
    ideal = {name: size / sum(sizes.values()) for name, size in sizes.items()}
    return {
        "class_grid": class_grid(original, generated),
        "num_classes": len(original.class_names),
        "nearest": nearest_originals(
            inputs.neighbours.with_suffix(".parquet"), original, generated
        ),
        "neighbour_chart": neighbour_chart(neighbours["complementarity"], ideal),
        "ideal": ideal,
        "class_neighbours": stages.generated.neighbours["per_class"],
        "generator_curves": _generator_curves(inputs.generator.parent),
        "paper_quality": quality_of(
            settings["dataset"], wording.generator_kind(settings["generator"])
        )
        if quality["comparable_with_published"]
        else None,
    }


def _generator_curves(folder: Path) -> str | None:
    """Return the curves of a generator that was trained; None for other types."""
    log = folder / "log.jsonl"
    if not log.is_file():
        return None
    return generator_curves(read_log(log))


def _runs(record: Record, stages: Stages) -> list[dict[str, Any]]:
    """Return each run with its curves."""
    runs = []
    for run in record["runs"]:
        seed = run["seed"]
        log = read_log(stages.run_folders[seed] / "log.jsonl")
        title = f"of the run with seed {seed}"
        runs.append(
            {
                **run,
                "accuracy_curves": accuracy_curves(
                    log, run["best_step"], f"Clean and robust accuracy during training {title}"
                ),
                "loss_curves": loss_curves(log, f"Loss during training {title}"),
            }
        )
    return runs


def _landscapes(stages: Stages) -> list[dict[str, Any]]:
    names = stages.dataset["class_names"]
    norm, epsilon = stages.landscape["norm"], parse_epsilon(stages.landscape["epsilon"])
    return [
        {
            "image": image["image"],
            "label": names[image["label"]],
            "uri": landscape(image, norm, epsilon),
            "lowest": min(min(row) for row in image["margin"]),
        }
        for image in stages.landscape["images"]
    ]

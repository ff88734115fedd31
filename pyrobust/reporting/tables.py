"""Tables of the page, as rows of values that the template formats."""

from collections import Counter
from typing import Any

from pyrobust.evaluation.intervals import wilson_interval
from pyrobust.reporting.accuracies import Cascade, Rows, cascade_of, interval_of, robust_scores
from pyrobust.reporting.published_results import SNAPSHOT, PaperResult, leaders_on, results_on
from pyrobust.reporting.wording import (
    amount,
    architecture_name,
    generator_kind,
    generator_name,
    stage_name,
)

Row = dict[str, Any]
Record = dict[str, Any]


def headline_rows(record: Record) -> list[Row]:
    """Return what to compare the result with, all under one attack: that of the comparison."""
    baseline, paper = record["baseline"], record["paper"]
    cascade = baseline["attack"] if baseline else cascade_of([record])
    labeller = record["labeller"]["attack_check"]
    under = ", AA+MT" if cascade == "aa_mt" and record["autoattack"] else ""
    rows = [
        _accuracies("labeller (not robust)", labeller | robust_scores(labeller, cascade)),
        _accuracies(f"this classifier{under}", record | robust_scores(record, cascade)),
    ]
    if baseline:
        robust = baseline["robust_accuracy"]["baseline"]
        scores = {
            "clean_accuracy": baseline["clean_accuracy"]["baseline"],
            "robust_accuracy": robust,
            "robust_interval": interval_of(robust, baseline["num_images"]),
        }
        rows.insert(1, _accuracies(baseline["experiment"], scores))
    if paper:
        published = PaperResult(**{k: v for k, v in paper.items() if k != "beside"})
        accuracy, attack = published.robust_under(cascade)
        stated = {"robust_accuracy": accuracy, "robust_interval": None}
        under = "" if attack == cascade else f", {_ATTACKS[attack]}"
        rows.append(_accuracies(f"the paper{under}", paper | stated))
    return rows


def _accuracies(name: str, scores: Record) -> Row:
    keys = ("clean_accuracy", "robust_accuracy", "robust_interval")
    return {"name": name, **{key: scores[key] for key in keys}}


def attack_rows(record: Record) -> list[Row]:
    """Return clean accuracy, every stage, and the result, with the labeller's and the paper's."""
    paper = record["paper"] or {"autoattack_stages": {}}
    paper = {**paper, **paper.get("beside", {})}
    labeller = record["labeller"]["attack_check"]
    rows = [
        _attack_row("Clean", record, labeller, "clean_accuracy", "clean_interval", paper),
        *_stage_rows("AA+MT: ", record["aa_mt"], labeller["aa_mt"], {}),
    ]
    rows[-1]["paper"] = paper.get("aa_mt")
    if record["autoattack"]:
        rows += _stage_rows(
            "AutoAttack: ",
            record["autoattack"],
            labeller["autoattack"],
            paper["autoattack_stages"],
        )
    result = "Worst of AA+MT and AutoAttack" if record["autoattack"] else "Result"
    rows.append(_attack_row(result, record, labeller, "robust_accuracy", "robust_interval", paper))
    return rows


def _attack_row(
    name: str,
    scores: Record,
    labeller: Record,
    key: str,
    interval: str,
    paper: Record,
) -> Row:
    return {
        "name": name,
        "attack": "",
        "accuracy": scores[key],
        "interval": scores[interval],
        "labeller": labeller[key],
        "paper": paper.get(key),
        "is_result": key == "robust_accuracy",
    }


def _stage_rows(
    cascade: str, scores: Record, labeller: Record | None, paper: dict[str, float]
) -> list[Row]:
    """Return a row for each stage of one cascade of attacks."""
    of_labeller = {
        stage["name"]: stage["robust_accuracy"] for stage in (labeller or {"stages": []})["stages"]
    }
    return [
        {
            "name": f"{'+ ' if number else cascade}{stage_name(stage['name'])}",
            "attack": stage["attack"],
            "accuracy": stage["robust_accuracy"],
            "interval": stage["interval"],
            "labeller": of_labeller.get(stage["name"]),
            "paper": paper.get(stage["name"].replace("_", "-")),
            "is_result": False,
        }
        for number, stage in enumerate(scores["stages"])
    ]


def published_rows(record: Record) -> list[Row]:
    """Return this result among those of the paper and of RobustBench, best first."""
    settings = record["settings"]
    task = (settings["dataset"], settings["norm"], settings["epsilon"])
    cascade = cascade_of([record])
    rows = [_paper_row(result, cascade) for result in results_on(*task)]
    rows += [
        {
            "model": f"{entry.model} {architecture_name(entry.architecture)}",
            "data": entry.data,
            "clean": entry.clean_accuracy,
            "robust": entry.robust_accuracy,
            "attack": "AutoAttack",
            "source": f"RobustBench, {SNAPSHOT}",
            "is_ours": False,
        }
        for entry in leaders_on(*task)
    ]
    if rows:
        rows.append(_own_row(record))
    return sorted(rows, key=lambda row: float(row["robust"]), reverse=True)


_ATTACKS = {"aa_mt": "AA+MT", "worst": "AA+MT, AutoAttack"}


def _paper_row(result: PaperResult, cascade: Cascade) -> Row:
    robust, attack = result.robust_under(cascade)
    return {
        "model": architecture_name(result.architecture),
        "data": result.external_data or generated_data(result.generator, result.num_samples),
        "clean": result.clean_accuracy,
        "robust": robust,
        "attack": _ATTACKS[attack],
        "source": f"the paper, {result.source}",
        "is_ours": False,
    }


def _own_row(record: Record) -> Row:
    settings = record["settings"]
    kind = generator_kind(settings["generator"]) if record["generator"] else None
    return {
        "model": architecture_name(settings["architecture"]),
        "data": generated_data(kind, settings["num_samples"]),
        "clean": record["clean_accuracy"],
        "robust": record["robust_accuracy"],
        "attack": _ATTACKS[cascade_of([record])],
        "source": "this experiment, smaller attack"
        if record["attack_departures"]
        else "this experiment",
        "is_ours": True,
    }


def generated_data(kind: str | None, num_samples: int) -> str:
    """Return the number of generated images and their kind of generator, in words."""
    return f"{amount(num_samples)} {generator_name(kind)}" if kind else "none"


def class_rows(rows: Rows, class_names: list[str]) -> list[Row]:
    """Return accuracies of each class, and the class that its images most often turn into."""
    return [
        _class_row(rows, label, class_names)
        for label in range(len(class_names))
        if (rows.label == label).any()
    ]


def _class_row(rows: Rows, label: int, class_names: list[str]) -> Row:
    members = rows.label == label
    total = int(members.sum())
    robust = int(rows.robust_correct[members].sum())
    fallen = rows.adversarial_prediction[members & ~rows.robust_correct]
    turned = Counter(class_names[other] for other in fallen.tolist() if other != label)
    return {
        "name": class_names[label],
        "num_images": total,
        "clean_accuracy": int(rows.clean_correct[members].sum()) / total,
        "robust_accuracy": robust / total,
        "robust_interval": list(wilson_interval(robust, total)),
        "turns_into": turned.most_common(1)[0] if turned else None,
    }


def weakest(rows: list[Row], count: int) -> list[Row]:
    """Return all rows, or the `count` of lowest robust accuracy where there are more."""
    if len(rows) <= count:
        return rows
    return sorted(rows, key=lambda row: float(row["robust_accuracy"]))[:count]


def setting_rows(record: Record) -> dict[str, list[Row]]:
    """Return all settings by group, each with the paper's value where ours differs."""
    settings = record["settings"]
    sections = {key: value for key, value in settings.items() if isinstance(value, dict)}
    groups = {
        "experiment": {key: settings[key] for key in settings if key not in sections},
        **sections,
        "training": record["training"],
    }
    departures = {"training": record["training_departures"]}
    return {
        group: [
            {"key": key, "value": value, "paper": departures.get(group, {}).get(key)}
            for key, value in values.items()
        ]
        for group, values in groups.items()
    }

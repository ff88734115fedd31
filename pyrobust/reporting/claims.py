"""What the record says, in plain sentences."""

from typing import Any

from pyrobust.reporting.wording import (
    architecture_name,
    generator_kind,
    generator_name,
    interval,
    norm_name,
    percent,
    points,
    points_interval,
)

Record = dict[str, Any]

# Where the classes of generated images come from, by `label_source` of the selection.
_LABELS = {
    "labeller": "the labeller labelled the samples",
    "condition": "each sample kept the class that it was drawn for",
}

_PROTOCOLS = {
    "until_full": "the first of each class, until all classes were full",
    "top_k": "those of each class that the labeller was surest of",
}


def headline(record: Record) -> str:
    """Return the result in one sentence."""
    settings, n = record["settings"], record["num_images"]
    model = architecture_name(settings["architecture"])
    clean, robust = (percent(record[f"{key}_accuracy"], n) for key in ("clean", "robust"))
    return (
        f"A {model} classifies {clean} of {n:,} {record['dataset']['name']} test images correctly, "
        f"and {robust} ({interval(record['robust_interval'], n)}, 95% interval) under the worst "
        f"perturbation found inside the {norm_name(settings['norm'])} ball of radius "
        f"{settings['epsilon']}."
    )


def gain(record: Record) -> str:
    """Return what the comparison with the baseline shows."""
    baseline = record["baseline"]
    n = baseline["num_images"]
    robust = baseline["robust_accuracy"]
    found = f"{points(robust['difference'], n)} points {points_interval(robust['interval'], n)}"
    clean = baseline["clean_accuracy"]
    and_clean = (
        f" Clean accuracy changes by {points(clean['difference'], n)} points "
        f"{points_interval(clean['interval'], n)}."
    )
    cause = _cause(record)
    low, high = robust["interval"]
    if low > 0:
        return f"{cause} raised robust accuracy by {found}.{and_clean}"
    if high < 0:
        return f"{cause} did not help: robust accuracy fell by {found}.{and_clean}"
    return (
        f"{cause} made no difference to robust accuracy that {n:,} images can show: {found}."
        f"{and_clean}"
    )


def effect_name(record: Record) -> str:
    """Return what the difference from the baseline measures."""
    return "Effect of generated data" if _is_about_data(record) else "Against the baseline"


def _is_about_data(record: Record) -> bool:
    """Return whether the baseline differs in generated data and in nothing else."""
    baseline = record["baseline"]
    return baseline["differs_in"] == ["mixing_factor"] and not baseline["uses_generated"]


def _cause(record: Record) -> str:
    """Name what differs between the experiment and its baseline."""
    baseline = record["baseline"]
    if _is_about_data(record):
        return "Generated data"
    if not baseline["differs_in"]:
        return "Another draw of the same settings"
    return f"What differs from {baseline['experiment']} ({', '.join(baseline['differs_in'])})"


def labeller_under_attack(record: Record) -> str:
    """Return whether the attack works, judged by the classifier that nothing protects."""
    labeller = record["labeller"]
    check = labeller["attack_check"]
    n = check["num_images"]
    found = (
        f"The same attack leaves {percent(check['robust_accuracy'], n)} of the non-robust "
        f"labeller, which is {percent(check['clean_accuracy'], n)} accurate on clean images"
    )
    if check["passed"]:
        return f"{found}: the attack works."
    return (
        f"{found}. That is above {percent(check['limit'])}: the attack is too weak to trust, "
        "and the robust accuracy on this page is an upper bound only."
    )


def fid_caveat(quality: dict[str, Any]) -> str:
    """Return what the Fréchet distance can be compared with."""
    if quality["comparable_with_published"]:
        found = "FID-Inception features, those of published FID and Inception scores."
    else:
        found = f"{quality['extractor'].capitalize()} features, not those of published FID."
    return " ".join([found, *(f"Note: {note}." for note in quality["notes"])])


def _origin(settings: dict[str, Any]) -> str:
    """Return where generated images come from."""
    model = generator_name(generator_kind(settings))
    if settings["type"] == "imported":
        return f"Samples of {model} were brought along"
    return f"A {model} learned the training images"


def steps_in_words(record: Record) -> list[str]:
    """Return how the classifier was made, a sentence a step."""
    settings, counts = record["settings"], record["dataset"]["counts"]
    labeller = record["labeller"]
    steps = [
        f"{record['dataset']['name']}: {counts['train']:,} training images, "
        f"{counts['validation']:,} held out for validation, {counts['test']:,} test images.",
        f"The labeller, a non-robust {architecture_name(settings['labeller']['architecture'])}, "
        "learned the training images and is "
        f"{percent(labeller['test_accuracy'], counts['test'])} accurate on the test images.",
    ]
    if record["generator"] is not None:
        kept = _PROTOCOLS[settings["selection"]["protocol"]]
        labelled = _LABELS[settings["selection"]["label_source"]]
        steps.append(
            f"{_origin(settings['generator'])}; {labelled}, and "
            f"{settings['num_samples']:,} were kept ({kept})."
        )
    share = settings["mixing_factor"]
    mixed = (
        "original images only"
        if record["generator"] is None
        else f"batches of {share:.0%} original and {1 - share:.0%} generated images"
    )
    runs = record["runs"]
    steps.append(
        f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} of TRADES "
        f"({settings['norm']}, ε = {settings['epsilon']}) learned from {mixed}; each kept its best "
        f"step and the best run was chosen, by PGD-40 on the validation images alone "
        f"(seed {record['chosen_seed']})."
    )
    steps.append(
        f"AA+MT attacked the chosen run on {record['num_images']:,} test images"
        + (", and AutoAttack as well." if record["autoattack"] else ".")
    )
    return steps

"""What the record says, in plain sentences."""

from typing import Any

from pyrobust.evaluation.intervals import wilson_interval
from pyrobust.reporting.effects import MIN_RUNS
from pyrobust.reporting.wording import (
    architecture_name,
    cascade_name,
    generator_kind,
    generator_name,
    interval,
    norm_name,
    objective_name,
    percent,
    points,
    unsigned_points,
)

Record = dict[str, Any]

# Where the classes of generated images come from, by `label_source` of the selection.
_LABELS = {
    "labeller": "the labeller labelled the samples",
    "condition": "each sample kept the class that the generator was given",
}

_PROTOCOLS = {
    "until_full": "the first of each class, until all classes were full",
    "top_k": "those of each class with the highest labeller confidence",
    "first": "the first, whatever their class",
}


def headline(record: Record) -> str:
    """Return the accuracies of the chosen run in one sentence."""
    settings, n = record["settings"], record["num_images"]
    model = architecture_name(settings["architecture"])
    clean, robust = (percent(record[f"{key}_accuracy"], n) for key in ("clean", "robust"))
    return (
        f"{_article(model)} {model} classifies {clean} of {n:,} {record['dataset']['name']} test "
        f"images correctly, and {robust} ({interval(record['robust_interval'], n)}, 95% interval) "
        f"under {_attack(record)} in the {norm_name(settings['norm'])} ball of radius "
        f"{settings['epsilon']}."
    )


def _attack(record: Record) -> str:
    return "AA+MT and AutoAttack" if record["autoattack"] else "AA+MT"


def effect(record: Record) -> str:
    """Return what the comparison with the baseline shows; with few runs, only of two models."""
    baseline = record["baseline"]
    if baseline["effect"] is None:
        return _two_models(record)
    n = baseline["num_images"]
    robust, clean = (baseline["effect"][f"{key}_accuracy"] for key in ("robust", "clean"))
    clean_text = (
        ""
        if clean is None
        else (
            f" Difference in clean accuracy: {points(clean['difference'], n)} points "
            f"(95% CI {points(clean['interval'][0], n)} to {points(clean['interval'][1], n)})."
        )
    )
    low, high = robust["interval"]
    cause, difference = _cause(record), robust["difference"]
    size = f"{unsigned_points(difference, n)} points"
    if low > 0 or high < 0:
        verb = "raises" if low > 0 else "lowers"
        bounds = sorted(abs(bound) for bound in (low, high))
        low_text, high_text = (unsigned_points(bound, n) for bound in bounds)
        found = f"{cause} {verb} robust accuracy by {size} (95% CI {low_text} to {high_text})"
    else:
        found = (
            f"Whether {cause[0].lower()}{cause[1:]} changes robust accuracy is open: the "
            f"difference is {points(difference, n)} points (95% CI {points(low, n)} to "
            f"{points(high, n)})"
        )
    mine, theirs = (
        f"{percent(arm['mean'], n)} (sd {unsigned_points(arm['std'], n)})"
        for arm in (robust["experiment"], robust["baseline"])
    )
    return (
        f"{found}. Mean over {robust['experiment']['num_runs']} training runs: {mine}; baseline "
        f"{baseline['experiment']}, {robust['baseline']['num_runs']} runs: {theirs}.{clean_text}"
    )


def effect_basis(record: Record) -> str:
    """Return what the interval of the effect covers, or what an effect would take."""
    baseline = record["baseline"]
    attack = cascade_name(baseline["attack"])
    if baseline["effect"] is None and baseline["num_runs"] >= MIN_RUNS:
        return (
            f"The {baseline['num_runs']} runs of each experiment do not differ in robust accuracy "
            f"on these images ({attack}), so the randomness of training cannot be estimated: this "
            f"is no evidence about {_subject(record)}. More test images can separate the runs."
        )
    if baseline["effect"] is None:
        return (
            "Training noise alone can produce such a difference, so it is no evidence about "
            f"{_subject(record)}. For an effect with an interval, train at least {MIN_RUNS} seeds "
            f"of both experiments and evaluate all of them (seeds, test_runs: all); {attack} on "
            "both sides."
        )
    fixed = "the choice of these images"
    if record["generator"] is not None:
        fixed += ", or training the generator again and drawing other samples"
    return (
        "Difference of means over seeds with Welch's interval, which covers the randomness of "
        f"training. All runs were attacked by {attack} on the same "
        f"{baseline['num_images']:,} test images; the interval does not cover {fixed}."
    )


def effect_name(record: Record) -> str:
    """Return what the difference from the baseline measures."""
    if record["baseline"]["effect"] is None:
        return "Chosen models: this − baseline"
    return "Effect of generated data" if is_about_data(record) else "Difference from baseline"


def is_about_data(record: Record) -> bool:
    """Return whether the baseline differs in generated data and in nothing else."""
    baseline = record["baseline"]
    return baseline["differs_in"] == ["mixing_factor"] and not baseline["uses_generated"]


def _two_models(record: Record) -> str:
    """Return the difference of the two chosen models on these images."""
    baseline = record["baseline"]
    n, robust = baseline["num_images"], baseline["robust_accuracy"]
    low, high = (points(bound, n) for bound in robust["interval"])
    return (
        f"The chosen model and that of {baseline['experiment']} differ by "
        f"{points(robust['difference'], n)} points in robust accuracy on these {n:,} images (95% "
        f"CI {low} to {high}, paired by image)."
    )


def _subject(record: Record) -> str:
    return "generated data" if is_about_data(record) else "the settings that differ"


def _cause(record: Record) -> str:
    """Name what differs between the experiment and its baseline."""
    baseline = record["baseline"]
    if is_about_data(record):
        return "Generated data"
    if not baseline["differs_in"]:
        return "Repeating the training with other seeds"
    return f"The change from {baseline['experiment']} ({', '.join(baseline['differs_in'])})"


def _article(noun: str) -> str:
    """Return the article of a model's name as it is spoken: an EDM, a DDPM, a WRN-28-10."""
    return "An" if noun[0] in "AEIO" else "A"


def memory(record: Record) -> str:
    """Return whether generated images are closer to training images than chance explains.

    A generator that has learned only the distribution is as close to unseen test images as to the
    training images (section 5). The compared sets have the same size unless whole sets are.
    """
    neighbours = record["generator"]["neighbours"]
    shares, n = neighbours["complementarity"], neighbours["num_samples"]
    near = (shares["train"] + shares["test"]) * n
    sizes = neighbours["set_sizes"]
    expected = sizes["train"] / (sizes["train"] + sizes["test"])
    found = (
        f"Of {n:,} generated images, {percent(shares['train'])} are nearest to a training image "
        f"and {percent(shares['test'])} to a test image"
    )
    copies = neighbours["copies"]["train"]
    exact = f" {percent(copies)} equal a training image exactly." if copies else ""
    if near < 1:
        return f"{found}, too few for a conclusion.{exact}"
    low, high = wilson_interval(
        round(shares["train"] * n), max(round(near), round(shares["train"] * n))
    )
    of_both = (
        f"Training images are {interval([low, high])} of both (95% interval); without memorising, "
        f"{percent(expected)} is expected.{exact}"
    )
    if low <= expected:
        return f"No sign of it: {found[0].lower()}{found[1:]}. {of_both}"
    if neighbours["extractor"] == "labeller":
        of_both += (
            " The labeller was trained on the training images, which can cause this in its "
            "features even without memorisation."
        )
    return f"There are signs of it: {found[0].lower()}{found[1:]}. {of_both}"


def paper(record: Record) -> str:
    """Return the paper's robust accuracy, and in what its model differs from this one."""
    found = record["paper"]
    beside = found["beside"]
    differs = "; ".join(beside["differs"])
    alike = "Mixing factor, epochs and recipe are the same."
    return (
        f"The paper's {architecture_name(found['architecture'])} ({found['source']}): "
        f"{percent(beside['robust_accuracy'], 10_000)} robust accuracy under "
        f"{cascade_name(beside['attack'])}. "
        + (f"What differs here: {differs}." if differs else alike)
    )


def choice(record: Record) -> str:
    """Return how far the validation accuracy of the chosen run is from its test accuracy."""
    run = next(run for run in record["runs"] if run["chosen"])
    validation, n = run["validation"], record["num_images"]
    return (
        f"The chosen run (seed {run['seed']}) reaches "
        f"{percent(validation['robust_accuracy'], validation['num_images'])} there and "
        f"{percent(record['robust_accuracy'], n)} on the test images. The first is the maximum "
        "over validated steps and runs, so it is optimistic; the second is not."
    )


def overfitting(record: Record) -> str:
    """Return which case of robust overfitting the runs show."""
    found = record["overfitting"]
    averaged, live, n = found["averaged"], found["live"], found["num_images"]
    low, high = averaged["gap_interval"]
    live_low, live_high = live["gap_interval"]
    gap = (
        f"At the last step, the gap in robust accuracy between {n:,} training images and "
        f"{averaged['num_validation_images']:,} validation images is {points(averaged['gap'])} "
        f"points (95% CI over images {points(low)} to {points(high)}) with the averaged weights "
        f"and {points(live['gap'])} ({points(live_low)} to {points(live_high)}, "
        f"{live['num_validation_images']:,} validation images) with the live ones."
    )
    if found["case"] == "too_long":
        fall_low, fall_high = averaged["fall_interval"]
        return (
            f"The training is too long for its data: validation accuracy peaked at step "
            f"{averaged['peak_step']:,} and then fell by {unsigned_points(averaged['fall'])} "
            f"points (95% CI over images {unsigned_points(fall_low)} to "
            f"{unsigned_points(fall_high)}). {gap} Fewer steps, or more unique images, can help."
        )
    if found["case"] == "too_few_images":
        return (
            f"The unique images seem too few: the network fits those it has better than others. "
            f"{gap} Validation accuracy has not fallen measurably, so nothing shows that the "
            "training is too long; more unique images, such as generated ones, can help."
        )
    return (
        f"No overfitting is measurable. {gap} Either the unique images suffice, or the network is "
        "too small, or the training too short, to fit them; these curves give no reason to expect "
        "a gain from more unique images."
    )


def labeller_under_attack(record: Record) -> str:
    """Return whether the attack works, judged by the classifier that nothing protects."""
    labeller = record["labeller"]
    check = labeller["attack_check"]
    n = check["num_images"]
    found = (
        f"Under the same attack, the accuracy of the non-robust labeller falls from "
        f"{percent(check['clean_accuracy'], n)} to {percent(check['robust_accuracy'], n)}"
    )
    if check["case"] == "broken":
        return f"{found}: the attack works."
    if check["case"] == "small_radius":
        return (
            f"{found}. That is above {percent(check['limit'])}, but the attack passes every check "
            "on the labeller and breaks it at a larger radius: the radius is small for these "
            "images."
        )
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
        return f"Samples of {model} were imported"
    if settings.get("path"):
        return f"Pretrained weights of {_article(model).lower()} {model} drew the samples"
    if settings["type"] == "gaussian":
        return f"{_article(model)} {model} was fitted to the training images"
    return f"{_article(model)} {model} was trained on the training images"


def steps_in_words(record: Record) -> list[str]:
    """Return how the classifier was made, a sentence a step."""
    settings, counts = record["settings"], record["dataset"]["counts"]
    labeller = record["labeller"]
    steps = [
        f"{record['dataset']['name']}: {counts['train']:,} training images, "
        f"{counts['validation']:,} held out for validation, {counts['test']:,} test images.",
        f"The labeller, a non-robust {architecture_name(settings['labeller']['architecture'])}, "
        "was trained on the training images and is "
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
    objective = objective_name(record["training"].get("objective", "trades"))
    steps.append(
        f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} of {objective} "
        f"({settings['norm']}, ε = {settings['epsilon']}) on {mixed}; each keeps its best step, "
        f"and the best run is chosen, by PGD-40 on the validation images alone "
        f"(seed {record['chosen_seed']})."
    )
    attacked = "every run" if all(run["test"] for run in runs) else "the chosen run"
    steps.append(f"{_attack(record)} attacked {attacked} on {record['num_images']:,} test images.")
    return steps

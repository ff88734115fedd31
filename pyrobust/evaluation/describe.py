"""What an evaluation found, in lines that a person can read."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyrobust.config.attacks import ATTACKS
from pyrobust.evaluation.confidence_sequence import anytime_interval
from pyrobust.evaluation.intervals import wilson_interval
from pyrobust.evaluation.labelled_images import IN_MEMORY
from pyrobust.files import described_by, read_json

# Files of an evaluation; the first is written last.
RESULT, ROWS, POINTS = "evaluation.json", "rows.parquet", "adversarial.npy"
NOT_TRUSTED = (
    "not to be trusted: the attack misses adversarial examples that are known to exist, so robust "
    "accuracy may be far too high"
)


def headline(result: Mapping[str, Any]) -> str:
    """Return the accuracies of `evaluation.json` in one line, with a 95 % interval."""
    attacks = attack_words(result)
    count, robust = result["num_images"], result["worst"]
    images = f"{count:,} images"
    if result["dataset"] != IN_MEMORY:
        images += f" of {result['dataset']} ({result['split']})"
    low, high = interval_of_result(result, robust)
    return (
        f"clean {100 * result['clean_accuracy']:.1f} %, robust {100 * robust:.1f} % "
        f"[{100 * low:.1f}, {100 * high:.1f}] under {attacks}: {result['norm']} "
        f"{result['epsilon']}, {images}"
    )


def interval_of_result(result: Mapping[str, Any], accuracy: float) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy in `evaluation.json`.

    That of an evaluation that was stopped is valid at any stop, for all images of the data set;
    that of a complete one is Wilson's, for images like these.
    """
    count = result["num_images"]
    anytime = result.get("anytime")
    if anytime and count < anytime["population"]:
        return anytime_interval(round(accuracy * count), count, anytime["population"])
    return wilson_interval(round(accuracy * count), count)


def anytime_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a stopped evaluation says about all images, and what it does not say."""
    anytime = result["anytime"]
    low, high = (100 * bound for bound in anytime["robust_interval"])
    last = anytime["last_stage"]
    yield (
        f"sampling: with 95 % confidence, robust accuracy under this attack is between {low:.1f} "
        f"and {high:.1f} % on all {anytime['population']:,} images, whenever the run is stopped; "
        f"{result['num_images']:,} were attacked (ended by: {anytime['stopped_by']})"
    )
    yield (
        "attack: this is an upper bound, whatever the interval; the last stage "
        f"({last['name']}) broke {last['num_broken']} of the {last['num_attacked']} images that "
        "it attacked, and a stronger attack may break more"
    )


def attack_words(result: Mapping[str, Any]) -> str:
    """Return what the images were attacked by, in words."""
    attack = result["settings"].get("attack", "aa_mt")
    words = ATTACKS[attack].title if attack in ATTACKS else f"the attack {attack}"
    return words if result["autoattack"] is None else f"{words} and AutoAttack"


def describe_result(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the headline, then the checks that failed and the notes, a line each."""
    yield headline(result)
    if "anytime" in result:
        yield from anytime_lines(result)
    if result.get("trusted") is False:  # older results have no self-test
        yield NOT_TRUSTED
    for check in result["checks"]:
        if not check["passed"]:
            verdict = "failed" if check["passed"] is False else "not tested"
            yield f"check {check['name']} {verdict}: {check['seen']}"
    yield from result["notes"]


def describe_file(
    path: Path, made_by: str, facts_of: Callable[[Mapping[str, Any]], Iterator[str]]
) -> Iterator[str]:
    """Yield what `facts_of` says about a result file.

    Args:
        made_by: command that writes the file.

    Raises:
        UserError: the file is missing or damaged.
    """
    result = read_json(path, made_by)
    with described_by(path, made_by):
        yield from facts_of(result)


def read_result(folder: Path) -> dict[str, Any]:
    """Return the result that `pyrobust evaluate` wrote to a folder.

    Raises:
        UserError: it is missing, or a part of it is.
    """
    path, made_by = folder / RESULT, "pyrobust evaluate"
    result = read_json(path, made_by)
    with described_by(path, made_by):
        list(facts_of_evaluation(result))
        interval_of_result(result, result["clean_accuracy"])
        str(result["subject"]["network"]["sha256"])
    return result


def facts_of_evaluation(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the result, and what each attack left, a line each."""
    yield from describe_result(result)
    main = {**result, "autoattack": None}
    cascades = {attack_words(main): result, "AutoAttack, too": result["autoattack"]}
    for name, cascade in cascades.items():
        for stage in cascade["stages"] if cascade else ():
            accuracy = 100 * stage["robust_accuracy"]
            yield f"{name}, after {stage['name']} ({stage['attack']}): {accuracy:.1f} %"
    for point in result["curve"]:
        yield f"radius {point['epsilon']}: {100 * point['robust_accuracy']:.1f} %"
    yield f"checks passed: {sum(check['passed'] is True for check in result['checks'])} of " + str(
        len(result["checks"])
    )

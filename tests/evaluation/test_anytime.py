"""Evaluations that end early: what they found is that of the whole one, and their bounds hold."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pyrobust.attacks import FixedPasses
from pyrobust.cli import app
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.errors import UserError
from pyrobust.evaluation.anytime import Limits
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.describe import describe_result, headline
from pyrobust.evaluation.evaluate import evaluate
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.outcomes import Outcome
from pyrobust.evaluation.transcripts.transcript import Transcript
from pyrobust.evaluation.transcripts.verification import verify_transcript
from pyrobust.files import read_json
from pyrobust.reporting.evaluation_page import evaluation_page

SETTINGS = EvaluationSettings(attack="pgd40", pass_size=16, seed=3)


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the checks of the model, which other tests are about."""
    monkeypatch.setattr("pyrobust.evaluation.evaluate._checks", lambda *_: [])


def rows_of(folder: Path):
    return pq.read_table(folder / "rows.parquet").to_pandas().set_index("image")


@pytest.fixture(scope="module")
def options(model_file: Path, digits: Path) -> list[str]:
    return [
        *("--model", str(model_file), "--dataset", str(digits), "--norm", "linf"),
        *("--epsilon", "16/255", "--attack", "pgd40", "--pass-size", "16", "--seed", "3"),
    ]


def stop_after(batches: int, monkeypatch: pytest.MonkeyPatch, how) -> None:
    """Do something when so many batches are complete."""
    attack, done = CascadeRun.attack, [0]

    def counted(self, *arguments, **named) -> Outcome:
        outcome = attack(self, *arguments, **named)
        done[0] += 1
        if done[0] == batches:
            how()
        return outcome

    monkeypatch.setattr(CascadeRun, "attack", counted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_the_images_attacked_so_far(
    number: int, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    evaluate(subject, tmp_path / "whole", SETTINGS)
    with monkeypatch.context() as patch:
        stop_after(2, patch, lambda: os.kill(os.getpid(), number))
        result = evaluate(subject, tmp_path / "out", SETTINGS, limits=Limits(width=0.01))
    assert signal.getsignal(number) == before
    assert result is not None
    anytime = result["anytime"]
    assert (result["num_images"], anytime["population"]) == (32, 96)
    assert anytime["stopped_by"] == "signal"
    assert [moment["num_images"] for moment in anytime["history"]] == [16, 32]
    low, high = anytime["robust_interval"]
    whole = read_json(tmp_path / "whole/evaluation.json", "")["robust_accuracy"]
    assert 0 < low <= whole <= high < 1
    # An image ends as it does in the whole evaluation; the sample is random.
    part, all_rows = rows_of(tmp_path / "out"), rows_of(tmp_path / "whole")
    assert part.equals(all_rows.loc[part.index])
    assert list(part.index) == sorted(part.index) != list(range(32))

    # The same command resumes; with all images, only the share itself is left.
    done = evaluate(subject, tmp_path / "out", SETTINGS, limits=Limits(width=0.01))
    assert done is not None
    assert done["anytime"]["stopped_by"] == "all images"
    assert done["anytime"]["robust_interval"] == (whole, whole)
    assert rows_of(tmp_path / "out").equals(all_rows)
    assert not (tmp_path / "out/state").exists()


@pytest.mark.parametrize(("first", "then"), [(16, 64), (64, 16)])
def test_a_pass_of_another_size_resumes_with_the_same_batches(
    first: int, then: int, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU that another program leaves more or less memory of."""

    def passes_of(size: int) -> None:
        passes = FixedPasses(subject.logits_fn, size)
        monkeypatch.setattr(
            "pyrobust.evaluation.evaluate.judge_and_search_passes", lambda *_: (passes, passes)
        )

    passes_of(first)
    evaluate(subject, tmp_path / "whole", SETTINGS)
    with monkeypatch.context() as patch:
        stop_after(2, patch, lambda: os.kill(os.getpid(), signal.SIGTERM))
        evaluate(subject, tmp_path / "out", SETTINGS, limits=Limits(width=0.01))
    passes_of(then)
    result = evaluate(subject, tmp_path / "out", SETTINGS, limits=Limits(width=0.01))
    assert result is not None
    counts = [moment["num_images"] for moment in result["anytime"]["history"]]
    assert counts == [16, 32, 48, 64, 80, 96]
    same = ["broken_by", "clean_prediction", "adversarial_prediction"]
    assert rows_of(tmp_path / "out")[same].equals(rows_of(tmp_path / "whole")[same])


def test_a_sample_does_not_replace_a_result_of_all_images(subject: Subject, tmp_path: Path) -> None:
    words = "contains the result of all 96 images, which a budget or a width may replace"
    for folder, limits in {"whole": None, "sampled": Limits(width=0.01)}.items():
        evaluate(subject, tmp_path / folder, SETTINGS, limits=limits)
        before = (tmp_path / folder / "evaluation.json").read_bytes()
        with pytest.raises(UserError, match=words):
            evaluate(subject, tmp_path / folder, SETTINGS, limits=Limits(width=60))
        assert (tmp_path / folder / "evaluation.json").read_bytes() == before


def test_a_width_that_is_reached_ends_the_evaluation(subject: Subject, tmp_path: Path) -> None:
    result = evaluate(subject, tmp_path, SETTINGS, limits=Limits(width=35))
    assert result is not None
    widths = [np.diff(m["interval"]).item() for m in result["anytime"]["history"]]
    assert widths[-1] <= 0.35 < min(widths[:-1])
    assert result["anytime"]["stopped_by"] == "width"
    assert (tmp_path / "state").is_dir()


def test_no_time_is_said_and_more_time_resumes(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        UserError, match="the budget ended the evaluation before any image had passed all"
    ):
        evaluate(subject, tmp_path, SETTINGS, limits=Limits(budget=1e-9))
    assert not (tmp_path / "evaluation.json").exists()
    clock = [0.0]
    monkeypatch.setattr("pyrobust.evaluation.anytime.time.monotonic", lambda: clock[0])
    stop_after(3, monkeypatch, lambda: clock.__setitem__(0, 1e9))
    result = evaluate(subject, tmp_path, SETTINGS, limits=Limits(budget=1e8))
    assert result is not None
    assert (result["num_images"], result["anytime"]["stopped_by"]) == (48, "budget")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(width=1), "run the same command: it"),
        (Limits(budget=1e-9), "with a larger --budget"),
    ],
)
def test_an_end_before_the_first_images_is_said(
    limits: Limits, words: str, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(count: int, most: int) -> Iterator[range]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield range(16)

    if limits.budget is None:
        monkeypatch.setattr("pyrobust.evaluation.anytime._batches", signalled)
    with pytest.raises(UserError, match=words):
        evaluate(subject, tmp_path, SETTINGS, limits=limits)


def test_a_second_signal_has_its_usual_effect(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        noting = signal.getsignal(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        while signal.getsignal(signal.SIGINT) is noting:  # two pending signals would be one
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    stop_after(2, monkeypatch, twice)
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            evaluate(subject, tmp_path, SETTINGS, limits=Limits(width=1))
    finally:
        signal.signal(signal.SIGINT, usual)


def test_two_statements_stay_apart(subject: Subject, tmp_path: Path) -> None:
    target = tmp_path / "t.safetensors"
    result = evaluate(
        subject, tmp_path / "out", SETTINGS, transcript=target, limits=Limits(width=60)
    )
    assert result is not None
    low, high = (100 * bound for bound in result["anytime"]["robust_interval"])
    assert f"[{low:.1f}, {high:.1f}]" in headline(result)
    lines = list(describe_result(result))
    assert lines[1].startswith("sampling: with 95 % confidence, robust accuracy under this attack")
    assert lines[2].startswith("attack: this is an upper bound, whatever the interval; the last")
    page = evaluation_page(result)
    assert all(line in page for line in lines[1:3])
    assert "minutes of attack" in page
    assert "95% confidence sequences for all images" in page
    assert not re.search(r"<dd>(None|True|False|\[)", page)
    whole = {**result, "num_images": result["anytime"]["population"]}
    assert "95% Wilson intervals over images" in evaluation_page(whole)
    found = Transcript.read(target)
    assert list(found.ids) == list(rows_of(tmp_path / "out").index)
    verification = verify_transcript(found, subject)
    assert verification.holds
    assert verification.robust_accuracy == result["robust_accuracy"]


@pytest.mark.parametrize(
    ("budget", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("0.5h", 1800), (7, 7)]
)
def test_durations_are_written_as_people_write_them(budget: str | float, seconds: float) -> None:
    assert Limits.of(budget, None) == Limits(seconds, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--budget", "soon"], "budget is 'soon', expected a duration such as 30m"),
        (["--budget", "30"], "budget is '30', expected a duration"),
        (["--budget", "0m"], "budget is 0m, expected more than no time"),
        (["--until-width", "0"], "until_width is 0.0, expected percentage points"),
        (["--budget", "1m", "--share", "1/2"], "does not go with share"),
    ],
)
def test_limits_that_make_no_sense_are_refused(
    given: list[str], message: str, options: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(
            app, ["evaluate", *options, "--output", str(tmp_path), *given], catch_exceptions=False
        )


@pytest.mark.slow
def test_a_command_that_is_told_to_stop_writes_its_result(
    options: list[str], tmp_path: Path
) -> None:
    slow = [
        *("--attack", "aa_mt", "--multitargeted-restarts", "1", "--multitargeted-targets", "4"),
        *("--apgd-ce-restarts", "1", "--apgd-dlr-restarts", "1"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "pyrobust", "evaluate", *options, *slow, "--budget", "1h",
         "--output", str(tmp_path)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    while process.poll() is None and len(list(tmp_path.glob("state/*/aa_mt-*16.npz"))) < 1:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "ended by: signal" in output
    assert read_json(tmp_path / "evaluation.json", "")["num_images"] >= 16

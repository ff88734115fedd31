"""Robustness curves: exact where robustness is known, and one with the evaluation's result."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from pyrobust.attacks import ThreatModel
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.outcomes import UNBROKEN, Outcome
from pyrobust.evaluation.robustness_curve import Curve, Radii, attack_radii
from tests.attacks.linear import linear_task

SMALL = EvaluationSettings(
    curve=("0.01", "0.03", "0.005"),
    apgd_ce_steps=8,
    apgd_ce_restarts=1,
    apgd_dlr_steps=8,
    apgd_dlr_restarts=1,
    multitargeted_steps=60,
    multitargeted_restarts=1,
)


def test_radii_are_in_order_and_hold_the_evaluations_own_once() -> None:
    settings = EvaluationSettings(curve=("8/255", "2/255", "16/255", "0.5"))
    radii = Radii.of(settings, "linf", "8/255", 10)
    assert radii.epsilons == ("2/255", "8/255", "16/255", "0.5")
    assert (radii.own, radii.num_stages) == (1, 9)
    assert Radii.of(EvaluationSettings(), "linf", "8/255", 10).num_stages == 0


def run_of(threat: ThreatModel, num_classes: int, folder: Path, count: int = 120):
    network, x, labels = linear_task(num_classes, count, 0.12, seed=num_classes)

    def load(rows: range) -> tuple[Tensor, Tensor]:
        return x[rows.start : rows.stop], labels[rows.start : rows.stop]

    run = CascadeRun(network, network, threat, load, folder, keep_adversarial=False)
    return run, network, x, labels


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_curve_of_a_linear_network_is_exact_to_the_image(
    norm: str, num_classes: int, tmp_path: Path
) -> None:
    scale = 1.0 if norm == "linf" else 6.0
    texts = tuple(f"{scale * radius:g}" for radius in (0.004, 0.01, 0.02, 0.04))
    settings = SMALL.model_copy(update={"curve": texts})
    radii = Radii.of(settings, norm, texts[2], num_classes)
    threat = ThreatModel(norm, float(texts[2]))
    run, network, x, labels = run_of(threat, num_classes, tmp_path)
    own = run.attack(radii.cascades[radii.own], range(120), lambda _: None)
    curve = attack_radii(run, radii, range(120), own, lambda _: None)
    robust = [int(network.is_robust(x, labels, norm, float(text)).sum()) for text in texts]
    assert robust == sorted(robust, reverse=True)
    assert len(set(robust)) > 2, "the case tells nothing"
    found = [point["num_standing"] for point in curve.summary(own.clean_correct)]
    assert found == robust


def test_images_are_attacked_only_where_it_is_open_what_becomes_of_them(tmp_path: Path) -> None:
    threat = ThreatModel("linf", 0.01)
    radii = Radii.of(SMALL, "linf", "0.01", 3)
    run, *_ = run_of(threat, 3, tmp_path)
    own = run.attack(radii.cascades[radii.own], range(120), lambda _: None)
    met: dict[float, int] = {}

    def counted(place: int) -> Radii:
        cascade = radii.cascades[place]
        first = cascade.stages[0]

        def attack(logits_fn, x, labels, ids):
            met[place] = len(x)
            return first.run(logits_fn, x, labels, ids)

        return replace(cascade, stages=(replace(first, run=attack), *cascade.stages[1:]))

    watched = replace(radii, cascades=tuple(counted(place) for place in range(3)))
    curve = attack_radii(run, watched, range(120), own, lambda _: None)
    fell = int((own.broken_by != UNBROKEN).sum())
    # The smaller radius meets those that fell at 0.01, the larger one the others.
    assert met == {0: fell, 2: 120 - fell}
    assert ((curve.broken_at <= 1) & (curve.broken_at >= 0)).sum() == fell


def test_a_killed_curve_resumes_and_its_parts_join(tmp_path: Path) -> None:
    radii = Radii.of(SMALL, "linf", "0.01", 3)
    run, *_ = run_of(ThreatModel("linf", 0.01), 3, tmp_path / "one")

    def curve_of(rows: range, here: CascadeRun) -> tuple[Outcome, Curve]:
        own = here.attack(radii.cascades[radii.own], rows, lambda _: None)
        return own, attack_radii(here, radii, rows, own, lambda _: None)

    _, whole = curve_of(range(120), run)
    other = replace(run, folder=tmp_path / "two")
    parts = [curve_of(rows, other)[1] for rows in (range(50), range(50, 120))]
    np.testing.assert_array_equal(Curve.joined(parts).broken_at, whole.broken_at)
    # Nothing is attacked again: a network that nobody may ask.
    _, again = curve_of(range(120), replace(run, logits_fn=None, search_fn=None))
    np.testing.assert_array_equal(again.broken_at, whole.broken_at)


def test_points_of_the_curve_are_those_of_evaluations_at_their_radii(
    subject: Subject, tmp_path: Path
) -> None:
    settings = EvaluationSettings(
        curve=("8/255", "32/255"), apgd_ce_steps=10, apgd_ce_restarts=1, apgd_dlr_steps=10,
        apgd_dlr_restarts=1, multitargeted_steps=10, multitargeted_restarts=1,
    )  # fmt: skip
    radii = Radii.of(settings, "linf", "16/255", 10)
    network = subject.logits_fn
    run = CascadeRun(network, network, subject.threat, subject.load, tmp_path / "curve", False)
    rows = range(96)
    own = run.attack(radii.cascades[1], rows, lambda _: None)
    points = attack_radii(run, radii, rows, own, lambda _: None).summary(own.clean_correct)
    for place, point in enumerate(points):
        threat = ThreatModel("linf", (8, 16, 32)[place] / 255)
        here = replace(run, threat=threat, folder=tmp_path / str(place))
        alone = here.attack(radii.cascades[place], rows, lambda _: None)
        assert abs(point["num_standing"] - int(alone.standing.sum())) <= 1
    standing = [point["num_standing"] for point in points]
    assert 0 < standing[2] < standing[1] < standing[0] < 96

"""Single attacks return points that anybody can check."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pyrobust
from pyrobust import ops
from pyrobust.attacks import LogitsFn, ThreatModel
from tests.api.conftest import Classified

METHODS = ("apgd_ce", "apgd_dlr", "apgd_t", "multitargeted", "pgd40")


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("method", METHODS)
def test_points_lie_in_the_ball_and_break_images(
    method: str, norm: str, classified: Classified
) -> None:
    network, images, labels = classified
    epsilon = {"linf": 16 / 255, "l2": 1.0}[norm]
    steps = None if method == "pgd40" else 10
    x_adv = pyrobust.attack(
        network, images, labels, norm=norm, epsilon=epsilon, method=method, steps=steps
    )
    assert x_adv.shape == images.shape
    assert bool(ThreatModel(norm, epsilon).contains(x_adv, images).all())  # type: ignore[arg-type]
    with torch.no_grad():
        assert int((network(x_adv).argmax(1) == labels).sum()) < 12


def test_an_image_does_not_depend_on_the_others(classified: Classified) -> None:
    network, images, labels = classified
    some = slice(5, 9)
    arguments = {"norm": "linf", "epsilon": "4/255", "steps": 5}
    whole = pyrobust.attack(network, images, labels, **arguments)  # type: ignore[arg-type]
    alone = pyrobust.attack(
        network,
        images[some],
        labels[some],
        sample_ids=torch.arange(5, 9),
        **arguments,  # type: ignore[arg-type]
    )
    assert torch.equal(alone, whole[some])


def jitter(
    logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor, threat: ThreatModel, seed: int
) -> Tensor:
    """Return random corners of the ball: an attack as a user writes one."""
    return ops.random_start(x, ids, threat.epsilon, threat.norm, seed, 0, on_boundary=True)


def too_far(
    logits_fn: LogitsFn, x: Tensor, labels: Tensor, ids: Tensor, threat: ThreatModel, seed: int
) -> Tensor:
    """Return points outside of the ball."""
    return 1 - x


def test_an_attack_of_the_user(classified: Classified) -> None:
    network, images, labels = classified
    own = "tests.api.test_attacking:jitter"
    x_adv = pyrobust.attack(network, images, labels, norm="l2", epsilon=1.0, method=own)
    distance = (x_adv - images).flatten(1).norm(dim=1)
    assert ((distance > 0.5) & (distance <= 1 + 1e-6)).all()  # [0, 1] cuts some of it off
    result = pyrobust.evaluate(network, images, labels, norm="l2", epsilon=1.0, attack=own)
    assert result.stages[0]["attack"] == own
    assert result.robust_accuracy <= result.clean_accuracy


def test_points_of_the_user_that_leave_the_ball_do_not_count(classified: Classified) -> None:
    network, images, labels = classified
    own = "tests.api.test_attacking:too_far"
    result = pyrobust.evaluate(network, images, labels, norm="linf", epsilon="1/255", attack=own)
    assert result.robust_accuracy == result.clean_accuracy
    assert any("refused" in note for note in result.summary["notes"])


def test_single_attacks_of_the_user_must_stay_in_the_ball(classified: Classified) -> None:
    network, images, labels = classified
    own = "tests.api.test_attacking:too_far"
    with pytest.raises(pyrobust.UserError, match=r"returned \d+ points outside the ball"):
        pyrobust.attack(network, images, labels, norm="linf", epsilon="1/255", method=own)


def test_the_code_of_an_attack_is_part_of_the_identity(
    classified: Classified, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = "def own(logits_fn, x, labels, ids, threat, seed):\n    return x\n"
    (tmp_path / "edited_attack.py").write_text(source)
    known = {"norm": "linf", "epsilon": "4/255", "attack": "edited_attack:own"}
    output = tmp_path / "out"
    pyrobust.evaluate(*classified, **known, output=output)  # type: ignore[arg-type]
    (tmp_path / "edited_attack.py").write_text(source + "# edited\n")
    with pytest.raises(pyrobust.UserError, match="attack_code"):
        pyrobust.evaluate(*classified, **known, output=output)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"restarts": 0}, "restarts is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"seed": -1}, "seed is -1"),
        ({"epsilon": None}, "epsilon is None"),
        ({"epsilon": [0.1]}, "epsilon is .0.1."),
        ({"mean": "a", "std": "b"}, "mean is 'a'"),
        ({"method": None}, "method is None"),
        ({"method": lambda x: x}, "method is .*at the top of a module"),
        ({"model": None}, "model is a NoneType"),
        ({"model": nn.Flatten}, "model is the class Flatten: call it"),
        ({"sample_ids": [0.5] * 24}, "sample_ids have"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_a_mistake_is_one_sentence(
    changed: dict[str, object], message: str, classified: Classified
) -> None:
    network, images, labels = classified
    given = {"model": network, "norm": "linf", "epsilon": 0.1, "steps": 2, **changed}
    with pytest.raises(pyrobust.UserError, match=message):
        pyrobust.attack(images=images, labels=labels, **given)  # type: ignore[arg-type]


def test_functions_are_models_and_attacks(classified: Classified) -> None:
    network, images, labels = classified
    known = {"norm": "l2", "epsilon": 1.0}
    by_name = pyrobust.attack(network, images, labels, method=f"{__name__}:jitter", **known)  # type: ignore[arg-type]
    itself = pyrobust.attack(lambda x: network(x), images, labels, method=jitter, **known)  # type: ignore[arg-type]
    assert torch.equal(by_name, itself)


def test_an_unknown_method_names_those_there_are(classified: Classified) -> None:
    with pytest.raises(pyrobust.UserError, match="unknown method 'fgsm'; choose one of: apgd_ce"):
        pyrobust.attack(*classified, norm="linf", epsilon=0.1, method="fgsm")

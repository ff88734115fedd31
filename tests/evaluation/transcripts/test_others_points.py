"""Adversarial images that others saved are verified like our own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from pyrobust.attacks import ThreatModel, pgd, pgd40
from pyrobust.cli import app
from pyrobust.errors import UserError
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.transcripts.verification import verify_points

COUNT = 40


@pytest.fixture(scope="module")
def options(model_file: Path, digits: Path) -> list[str]:
    threat = ["--norm", "linf", "--epsilon", "16/255"]
    return ["--model", str(model_file), "--dataset", str(digits), *threat]


@pytest.fixture
def points(subject: Subject) -> Tensor:
    x, labels = subject.load(range(COUNT))
    threat = ThreatModel("linf", 16 / 255)
    x_adv = pgd(subject.logits_fn, x, labels, torch.arange(COUNT), pgd40(threat), 0)
    broken = subject.logits_fn(x_adv).argmax(1) != labels
    return torch.where(broken[:, None, None, None], x_adv, x)  # as AutoAttack leaves them


def accuracy(points: Tensor, subject: Subject) -> float:
    _, labels = subject.load(range(COUNT))
    return float((subject.logits_fn(points).argmax(1) == labels).double().mean())


def verify(file: Path, *arguments: object) -> tuple[int, str]:
    words = [str(word) for word in ("verify", file, *arguments)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.parametrize("form", ["array", "tensor", "autoattack", "big_endian", "double"])
def test_saved_points_show_the_accuracy(
    form: str, points: Tensor, subject: Subject, options: list[str], tmp_path: Path
) -> None:
    file = tmp_path / ("p.npy" if form in ("array", "big_endian") else "p.pt")
    match form:
        case "array":
            np.save(file, points.numpy())
        case "big_endian":
            np.save(file, points.numpy().astype(">f4"))
        case "tensor":
            torch.save(points, file)
        case "double":
            torch.save(points.double(), file)
        case "autoattack":
            torch.save({"adv_complete": points, "y_adv": torch.zeros(COUNT)}, file)
    robust = accuracy(points, subject)
    status, output = verify(file, *options, "--claimed", f"{robust:.4f}")
    assert status == 0, output
    assert f"robust accuracy at most {robust:.2%}, claimed {robust:.2%}" in output
    status, output = verify(file, *options, "--claimed", f"{robust - 0.025:.4f}")
    assert status == 1
    assert f"was claimed, but the points show {robust:.2%}" in output


@pytest.mark.parametrize(("margin", "status"), [(1e-6, 1), (-1e-6, 0)])
def test_a_claim_holds_only_if_a_point_is_misclassified(
    margin: float, status: int, subject: Subject
) -> None:
    x, labels = subject.load(range(1))

    def logits(points: Tensor) -> Tensor:
        right = torch.nn.functional.one_hot(labels.repeat(len(points)), 10).float()
        clean = (points == x).flatten(1).all(1, keepdim=True)
        return torch.where(clean, 5 * right, 5 + margin * right)

    near = replace(subject, logits_fn=logits)
    result = verify_points((x + 0.01).clamp(0, 1), near, 0.0, "p")
    assert result.holds is (status == 0)
    verdict = "holds" if status == 0 else "is open: it rests on images that are not decided"
    assert list(result.lines())[-1] == f"the claim {verdict}"
    # Rounding may also have been in favour of the author's model.
    assert verify_points((x + 0.01).clamp(0, 1), near, 1.0, "p").holds


def test_points_outside_the_ball_do_not_count(
    points: Tensor, subject: Subject, options: list[str], tmp_path: Path
) -> None:
    robust = accuracy(points, subject)
    broken = points != subject.load(range(COUNT))[0]
    first = int(broken.flatten(1).any(1).nonzero()[0])
    points[first] = 1 - points[first]
    points[first + 1, 0, 0, 0] = torch.nan
    np.save(tmp_path / "p.npy", points.numpy())
    status, output = verify(tmp_path / "p.npy", *options)
    assert status == 1
    assert f"points outside the ball or [0, 1]: 2 images ({first}, {first + 1})" in output
    assert f"robust accuracy at most {robust:.2%}" not in output


def huge(file: Path) -> None:
    """Write an array whose header states more rows than the file has."""
    with file.open("wb") as stream:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (10**13, 1, 8, 8)}
        np.lib.format.write_array_header_1_0(stream, shape)
        stream.write(bytes(64))


def archive(points: Tensor, file: Path) -> None:
    with file.open("wb") as stream:
        np.savez(stream, points.numpy())


def endless() -> list:
    outer: list = []
    outer += [outer, outer]
    return outer


class Bad:
    def __reduce__(self):
        return print, ("code of the file ran",)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda p, f: np.save(f.with_suffix(".npy"), p.permute(0, 2, 3, 1)), "permute them"),
        (lambda p, f: np.save(f.with_suffix(".npy"), p.long()), "holds torch.int64"),
        (
            lambda p, f: np.save(f.with_suffix(".npy"), np.array([Bad()])),
            "not an array of numbers",
        ),
        (
            lambda p, f: f.with_suffix(".npy").write_bytes(b"\x93NUMPY"),
            "not an array of numbers",
        ),
        (lambda p, f: archive(p, f.with_suffix(".npy")), "not an array of numbers"),
        (lambda p, f: huge(f.with_suffix(".npy")), "not an array of numbers"),
        (lambda p, f: f.write_bytes(bytes.fromhex("80022e")), "cannot be read as tensors"),
        (lambda p, f: f.write_bytes(bytes.fromhex("800268052e")), "cannot be read as tensors"),
        (lambda p, f: torch.save(endless(), f), "holds 0 tensors"),
        (lambda p, f: torch.save(p.to_sparse(), f), "without plain pixels"),
        (
            lambda p, f: torch.save(torch.nested.nested_tensor(list(p)), f),
            "without plain pixels",
        ),
        (lambda p, f: torch.save(p.double()[:1].expand(10**9, -1, -1, -1), f), "96 images"),
        (lambda p, f: torch.save(torch.cat([p] * 3), f), "there are 96 images"),
        (lambda p, f: torch.save([p, p], f), "holds 2 tensors of four dimensions"),
        (lambda p, f: torch.save({"a": 3}, f), "holds 0 tensors"),
        (lambda p, f: torch.save(Bad(), f), "cannot be read as tensors without running its code"),
        (lambda p, f: f.write_bytes(b"PK\x03\x04"), "cannot be read as tensors"),
        (lambda p, f: f.write_bytes(b""), "cannot be read as tensors"),
        (lambda p, f: None, "p.pt is missing"),
    ],
)
def test_other_files_are_refused(
    save,
    message: str,
    points: Tensor,
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(points, tmp_path / "p.pt")
    (file, *_) = [*tmp_path.glob("p.npy"), tmp_path / "p.pt"]
    with pytest.raises(UserError, match=message):
        verify(file, *options)
    assert "code of the file ran" not in capsys.readouterr().out


@pytest.mark.parametrize("given", [[], ["--norm", "linf"], ["--epsilon", "8/255"]])
def test_a_perturbation_set_is_required(
    given: list[str], points: Tensor, options: list[str], tmp_path: Path
) -> None:
    np.save(tmp_path / "p.npy", points.numpy())
    with pytest.raises(UserError, match="--norm and --epsilon"):
        verify(tmp_path / "p.npy", *options[:4], *given)

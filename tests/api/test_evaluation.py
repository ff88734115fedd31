"""Five lines of Python evaluate any model, with the numbers of the command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import pyrobust
from pyrobust.attacks import ThreatModel
from pyrobust.errors import UserError
from tests.api.conftest import Classified

QUICK = {"attack": "fast", "norm": "linf", "epsilon": "4/255"}


@pytest.fixture(scope="module")
def result(classified: Classified) -> pyrobust.EvaluationResult:
    """Return an evaluation of the network."""
    return pyrobust.evaluate(*classified, **QUICK)


def test_the_result_is_what_the_points_show(
    classified: Classified, result: pyrobust.EvaluationResult
) -> None:
    network, images, labels = classified
    assert result.clean_accuracy == 20 / 24
    with torch.no_grad():
        standing = network(result.adversarial).argmax(1) == labels
    assert 0 < result.robust_accuracy < result.clean_accuracy
    assert result.robust_accuracy == int(standing.sum()) / 24
    assert bool(ThreatModel("linf", 4 / 255).contains(result.adversarial, images).all())
    assert [stage["name"] for stage in result.stages] == ["apgd_ce", "apgd_t"]
    low, high = result.robust_interval
    assert low < result.robust_accuracy < high
    assert result.rows.num_rows == 24
    assert "AutoAttack's two APGD attacks" in repr(result)
    used = {"attack", "num_images", "batch_size", "pass_size", "search", "seed"}
    assert set(result.summary["settings"]) == used


def test_the_model_of_the_caller_stays_as_it_is(classified: Classified) -> None:
    network, images, labels = classified
    network.train()
    pyrobust.evaluate(network, images[:4], labels[:4], **QUICK)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not labels.is_floating_point()


@pytest.mark.parametrize("form", ["loader", "dataset", "pairs", "generator", "arrays", "uint8"])
def test_images_come_from_anywhere(
    form: str, classified: Classified, result: pyrobust.EvaluationResult
) -> None:
    network, images, labels = classified
    data = TensorDataset(images, labels)
    sources: dict[str, tuple[object, ...]] = {
        "loader": (DataLoader(data, batch_size=7),),
        "dataset": (data,),
        "pairs": ([(image, label[None].numpy()) for image, label in data],),  # as of MedMNIST
        "generator": ((pair for pair in DataLoader(data, batch_size=5)),),
        "arrays": (images.numpy(), labels.numpy().astype(np.int32)),
        "uint8": ((images * 255).round().to(torch.uint8), labels),
    }
    found = pyrobust.evaluate(network, *sources[form], **QUICK)  # type: ignore[arg-type]
    if form != "uint8":
        assert found.summary["subject"] == result.summary["subject"]
        assert found.rows.equals(result.rows)
    assert found.clean_accuracy == pytest.approx(result.clean_accuracy, abs=1 / 24)


def test_a_result_is_saved_and_read_back(tmp_path: Path, result: pyrobust.EvaluationResult) -> None:
    result.save(tmp_path / "out")
    again = pyrobust.EvaluationResult.load(tmp_path / "out")
    assert again.summary == result.summary
    assert again.rows.equals(result.rows)
    assert torch.equal(again.adversarial, result.adversarial)


def test_a_page_and_a_notebook_show_the_result(
    tmp_path: Path, result: pyrobust.EvaluationResult
) -> None:
    page = result.report(str(tmp_path / "page.html")).read_text(encoding="utf-8")
    shown = result._repr_html_()
    accuracy = f"{100 * result.robust_accuracy:.1f} %"
    assert accuracy in page
    assert accuracy in shown
    assert "<svg" in page
    assert "<svg" in shown
    assert "var(--" in page and "var(--" not in shown  # a notebook has no such variables


def test_trackers_show_the_stages(tmp_path: Path, classified: Classified) -> None:
    result = pyrobust.evaluate(
        *classified, **QUICK, output=tmp_path / "out", trackers="tensorboard"
    )
    events = EventAccumulator(str(tmp_path / "out/tensorboard"))
    events.Reload()
    points = events.Scalars("evaluation/robust_accuracy")
    expected = [result.clean_accuracy, *(stage["robust_accuracy"] for stage in result.stages)]
    assert [(point.step, point.value) for point in points] == [
        (step, pytest.approx(value)) for step, value in enumerate(expected)
    ]


def test_a_killed_call_resumes_from_its_folder(
    tmp_path: Path, classified: Classified, result: pyrobust.EvaluationResult
) -> None:
    network, images, labels = classified

    class Dying(nn.Module):
        passes = 0

        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, x: Tensor) -> Tensor:
            Dying.passes += 1
            if Dying.passes == limit:
                raise KeyboardInterrupt
            return self.inner(x)  # type: ignore[no-any-return]

    limit = 0
    whole = pyrobust.evaluate(Dying(), images, labels, **QUICK, batch_size=8)
    limit, Dying.passes = Dying.passes // 2, 0
    with pytest.raises(KeyboardInterrupt):
        pyrobust.evaluate(Dying(), images, labels, **QUICK, batch_size=8, output=tmp_path)
    limit, Dying.passes = 0, 0
    resumed = pyrobust.evaluate(Dying(), images, labels, **QUICK, batch_size=8, output=tmp_path)
    assert resumed.rows.equals(whole.rows)
    assert whole.rows["margin"].to_pylist() == result.rows["margin"].to_pylist()


def test_a_radius_of_a_curve_beyond_all_images_is_refused() -> None:
    images, labels = torch.rand(3, 1, 8, 8), torch.zeros(3, dtype=torch.int64)
    wide = {"norm": "l2", "epsilon": 1, "curve": ["1", "9"], "device": "cpu"}
    with pytest.raises(UserError, match=r"radius of curve is 9.* at most 8 apart in l2"):
        pyrobust.evaluate(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), images, labels, **wide)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epsilon": 8}, "epsilon is 8.*at most 1"),
        ({"epsilon": "a lot"}, "epsilon is 'a lot'"),
        ({"norm": "l2", "epsilon": 9}, r"epsilon is 9.* at most 8 apart in l2"),
        ({"norm": "l1", "epsilon": 65}, r"epsilon is 65.* at most 64 apart in l1"),
        ({"norm": "l3"}, "norm is 'l3'"),
        ({"attack": "apgd"}, "attack is 'apgd'.*aa_mt, autoattack, fast, pgd40"),
        ({"apgd_ce_steps": 3}, "apgd_ce_steps belongs to attack aa_mt, but attack is 'fast'"),
        ({"steps": 3}, "unknown setting 'steps'"),
        ({"images": torch.rand(3, 1, 8, 8) * 255}, r"pixels range from .* must be in \[0, 1\]"),
        ({"images": torch.rand(3, 8, 8, 1)}, r"\(N, H, W, C\)|shape"),
        ({"labels": torch.rand(3)}, "labels are torch.float32"),
        ({"labels": None}, "labels are missing"),
        ({"images": "nowhere", "labels": None}, "nowhere"),
        ({"model": "no-such-model"}, "no-such-model"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"mean": 0.5}, "std"),
        ({"trackers": "mlflow"}, "give output"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_mistake_is_one_sentence(
    changed: dict[str, object], message: str, classified: Classified
) -> None:
    network, images, labels = classified
    given = {"model": network, "images": images[:3], "labels": labels[:3], **QUICK, **changed}
    with pytest.raises(pyrobust.UserError, match=message):
        pyrobust.evaluate(**given)  # type: ignore[arg-type]

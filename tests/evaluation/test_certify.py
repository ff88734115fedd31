"""Certificates of a model: statuses, what is written, resuming, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm, weight_norm

import pyrobust
from pyrobust import certificates as bounds_code
from pyrobust.cli import app
from pyrobust.errors import UserError
from pyrobust.evaluation import certify as certificates
from pyrobust.evaluation.logits_model import LogitsModel
from tests.attacks.linear import linear_task


def linear(num_images: int = 60) -> tuple[nn.Module, torch.Tensor, torch.Tensor, np.ndarray]:
    """Return a linear model, images, labels, and which images are robust in linf 0.02."""
    network, x, labels = linear_task(4, num_images, 0.12, seed=2)
    layer = nn.Linear(36, 4)
    layer.weight.data, layer.bias.data = network.weight, network.bias
    robust = network.is_robust(x, labels, "linf", 0.02)
    return nn.Sequential(nn.Flatten(), layer), x, labels, robust.numpy()


@pytest.mark.parametrize("method", ["crown", "crown_ibp", "ibp"])
def test_a_linear_model_is_decided(method: str) -> None:
    model, x, labels, robust = linear()
    labels[:3] = (labels[:3] + 1) % 4  # misclassified
    result = pyrobust.certify(
        model, x, labels, norm="linf", epsilon=0.02, method=method, device="cpu"
    )
    status = np.array(result.rows["status"].to_pylist())
    assert (status[:3] == "broken").all()
    assert ((status == "certified") <= robust)[3:].all()
    assert ((status == "broken") <= ~robust)[3:].all()
    if method != "ibp":  # whose bounds of two logits ignore that both depend on the same pixels
        assert (status != "undecided").all()
        assert 10 < (status == "certified").sum() < 50
    assert result.certified_accuracy == (status == "certified").mean()
    assert result.attacked_accuracy == pytest.approx((status != "broken").mean())


def test_the_verb_resumes_prints_shares_and_writes_a_page(
    model_file: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    options = ["certify", "--model", str(model_file), "--dataset", str(digits), "--norm", "linf",
               "--epsilon", "0.5/255", "--method", "crown_ibp", "--attack", "pgd40",
               "--num-images", "12", "--batch-size", "5"]  # fmt: skip
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    app([*options, "--output", str(whole)], standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["clean", "certified", "undecided", "broken"]
    app(["info", str(whole)], standalone_mode=False)
    assert capsys.readouterr().out.splitlines() == lines
    assert "<svg" in (whole / "certificates.html").read_text()

    bound, calls = certificates.certified_margins, []

    def dies(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return bound(*arguments)

    monkeypatch.setattr(certificates, "certified_margins", dies)
    with pytest.raises(RuntimeError, match="killed"):
        app([*options, "--output", str(resumed)], standalone_mode=False)
    app([*options, "--output", str(resumed)], standalone_mode=False)
    assert len(calls) == 4, "the first batch is not certified again"
    for name in ("certificates.json", "certificates.parquet"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    rows = pq.read_table(whole / "certificates.parquet").to_pandas()
    assert not ((rows["margin_bound"] > 0) & rows["broken_by"].notna()).any()
    with pytest.raises(UserError, match="another evaluation"):
        app([*options, "--seed", "1", "--output", str(whole)], standalone_mode=False)


def test_bounds_of_other_code_are_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs are killed in their attacks; the second one has other code."""
    model, x, labels, _ = linear(4)
    bound, calls = certificates.certified_margins, []

    def counted(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        return bound(*arguments)

    def dies(*_: Any) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(certificates, "certified_margins", counted)
    monkeypatch.setattr(certificates, "_attack", dies)
    for code, count in (("one", 1), ("one", 1), ("other", 2)):
        monkeypatch.setattr(certificates, "_sha256_of_bounds", lambda code=code: code)
        with pytest.raises(RuntimeError, match="killed"):
            pyrobust.certify(
                model, x, labels, norm="linf", epsilon=0.02, device="cpu", output=tmp_path
            )
        assert len(calls) == count


def test_the_code_of_bounds_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = certificates._sha256_of_bounds()
    assert before == certificates._sha256_of_bounds()
    for path in Path(bounds_code.__path__[0]).glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(bounds_code, "__path__", [str(tmp_path)])
    assert certificates._sha256_of_bounds() == before
    with (tmp_path / "graph.py").open("a") as file:
        file.write("\n")
    assert certificates._sha256_of_bounds() != before


class Rough(nn.Module):
    """A network whose float32 logits are off by a share of the largest; its graph's are exact."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 2)
        self.layer.weight.data = torch.full((2, 36), 1e-5)
        self.layer.bias.data = torch.tensor([2e4, 0.0])
        self.layer.weight.data[0] = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.layer(x.flatten(1)) + 1e8) - 1e8


def test_the_rounding_of_the_model_is_measured() -> None:
    x = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    model = LogitsModel(Rough().requires_grad_(False), "rough", x[:1], 2)
    graph, difference = certificates.model_graph(model, x)
    assert difference == pytest.approx(float((graph(x.double()) - model(x)).abs().max()))
    assert difference > 1e-5


def test_a_broken_certificate_names_both_causes() -> None:
    model, x, labels, _ = linear(4)
    labels[:] = (labels + 1) % 4  # misclassified, whatever the bound says
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "certified_margins", lambda *_: torch.ones(4))
        with pytest.raises(UserError, match=r"image 0 is certified, yet.*float32 rounding.*bug"):
            pyrobust.certify(model, x, labels, norm="linf", epsilon=0.02, device="cpu")


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_model_with_hooks_is_one_sentence() -> None:
    """Whether or not torch can copy its computed weights."""
    _, x, labels, _ = linear(4)
    for norm in (weight_norm, spectral_norm):
        for gradients in (True, False):
            model = nn.Sequential(nn.Flatten(), norm(nn.Linear(36, 4)))
            with torch.set_grad_enabled(gradients):
                model(x)
            with pytest.raises(
                UserError, match=r"layer (network\.)?1 \(Linear\) has hooks.*remove_weight_norm"
            ):
                pyrobust.certify(model.eval(), x, labels, norm="linf", epsilon=0.1, device="cpu")


def test_smoothing_certifies_the_smoothed_classifier() -> None:
    model, x, labels, _ = linear(30)
    labels[:3] = (labels[:3] + 1) % 4
    result = pyrobust.certify(
        model, x, labels, norm="l2", epsilon=0.02, method="smoothing", deviation=0.05,
        samples=300, device="cpu",
    )  # fmt: skip
    rows = result.rows.to_pandas()
    right = rows["smoothed_prediction"] == rows["label"]
    certified = rows["status"] == "certified"
    assert (certified == (right & (rows["certified_radius"] > 0.02))).all()
    assert 3 < certified.sum() < 27, "the case tells nothing"
    broken = rows["status"] == "broken"
    assert (broken == (~right & (rows["smoothed_prediction"] >= 0))).all()
    assert broken[:3].any()


class Odd(nn.Module):
    """A network with a function for which no bounds are known."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(x.flatten(1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "linf", "method": "smoothing"}, "certifies l2, but norm is 'linf'"),
        ({"norm": "l2", "method": "crown", "samples": 10}, "samples has no effect"),
        ({"norm": "l2", "method": "smoothing", "attack": "fast"}, "attack has no effect"),
        ({"norm": "linf", "method": "guess"}, "method"),
    ],
)
def test_settings_that_do_not_fit_are_named(options: dict[str, Any], message: str) -> None:
    model, x, labels, _ = linear(4)
    with pytest.raises(UserError, match=message):
        pyrobust.certify(model, x, labels, epsilon=0.1, device="cpu", **options)


def test_models_without_bounds_are_refused() -> None:
    _, x, labels, _ = linear(4)
    for model, message in ((Odd(), "tanh"), (linear(4)[0].bfloat16(), "bfloat16")):
        with pytest.raises(UserError, match=message):
            pyrobust.certify(model, x, labels, norm="linf", epsilon=0.1, device="cpu")


class Unsteady(nn.Module):
    """A network that computes something else at every pass."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.layer, self.passes = how, nn.Linear(36, 2), 0
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "writes":
            self.scale += 1e-6
        elif self.how == "assigns":
            self.scale = self.scale * (1 + 1e-6)
        elif self.how == "counts":
            self.passes += 1
            x = x * (1 + 1e-6 * self.passes)
        else:
            x = x + 1e-6 * torch.rand(1)
        return self.layer((x * self.scale).flatten(1))


@pytest.mark.parametrize("how", ["writes", "assigns", "counts", "draws"])
def test_a_network_that_changes_from_pass_to_pass_is_refused(how: str) -> None:
    x = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    model = LogitsModel(Unsteady(how).eval().requires_grad_(False), how, x[:1], 2)
    with pytest.raises(UserError, match="its logits change from pass to pass"):
        certificates.model_graph(model, x)

"""FAB and its projections, against the public implementation."""

from typing import Any

import pytest
import torch
from pyautoattack import fab_projections
from pyautoattack.fab_pt import FABAttack_PT
from torch import Tensor

from pyrobust.attacks import FabSettings, ThreatModel, fab
from pyrobust.attacks.hyperplane import exact_sums, to_hyperplane
from tests.attacks.networks import Recorder, random_images, smooth_network

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


# point, normal, residual, norm, move.
MOVES = [
    ([0.5, 0.5], [1.0, -0.5], 0.3, "linf", [-0.2, 0.2]),
    ([0.1, 0.5], [1.0, -0.5], 0.3, "linf", [-0.1, 0.4]),  # the first pixel has no more room
    ([0.5, 0.5], [1.0, -0.5], 0.25, "l2", [-0.2, 0.1]),
    ([0.1, 0.5], [1.0, -0.5], 0.2, "l2", [-0.1, 0.2]),
    ([0.5, 0.5], [1.0, -0.5], -0.25, "l1", [0.25, 0.0]),
    ([0.9, 0.5], [1.0, -0.5], -0.25, "l1", [0.1, -0.3]),
    ([0.5, 0.5], [-1.0, 1.0], 0.4, "l1", [0.2, -0.2]),  # equal weights share
    ([0.5, 0.5], [1.0, 0.0], 0.0, "linf", [0.0, 0.0]),
]


@pytest.mark.parametrize(("point", "normal", "residual", "norm", "move"), MOVES)
def test_moves_of_two_pixels(
    point: list[float], normal: list[float], residual: float, norm: Any, move: list[float]
) -> None:
    found = to_hyperplane(
        torch.tensor([point]), torch.tensor([normal]), torch.tensor([residual]), norm
    )
    torch.testing.assert_close(found, torch.tensor([move]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [2, 64, 999])
def test_moves_are_those_of_the_public_implementation(norm: Any, size: int) -> None:
    random = torch.Generator().manual_seed(size)
    points = torch.rand((60, size), generator=random)
    normal = 2 * torch.rand((60, size), generator=random) - 1
    residual = size**0.5 * torch.randn((60,), generator=random) * torch.rand(60, generator=random)
    residual[:2] *= size  # no point of [0, 1] is on these hyperplanes
    offsets = (normal * points).sum(1) - residual
    expected = getattr(fab_projections, f"projection_{norm}")(points, normal, offsets)
    found = to_hyperplane(points, normal, residual, norm)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 if norm == "l1" else 1e-5)
    # Nothing to go along: the points stay.
    assert not to_hyperplane(points, torch.zeros_like(normal), residual, norm).any()


def test_sums_do_not_depend_on_the_order() -> None:
    values = torch.rand((1, 5000), generator=torch.Generator().manual_seed(0))
    assert torch.equal(exact_sums(values), exact_sums(values.flip(1)))
    torch.testing.assert_close(exact_sums(values).double(), values.double().sum(1))


@pytest.mark.parametrize("norm", NORMS)
def test_distances_to_the_boundary_are_those_of_the_public_implementation(norm: Any) -> None:
    network, x = smooth_network(dtype=torch.float32), random_images(16, dtype=torch.float32)
    labels = network(x).argmax(1)
    nothing_found = ThreatModel(norm, 1e-6)  # so that both run to the end
    ours, theirs = Recorder(network), Recorder(network)
    fab(ours, x, labels, FabSettings(nothing_found, num_steps=15, num_targets=2))
    public = FABAttack_PT(
        theirs, norm=NORMS[norm], n_restarts=1, n_iter=15, eps=1e-6, seed=0, targeted=True,
        n_target_classes=2,
    )  # fmt: skip
    public.perturb(x, labels)

    def nearest(points: list[Tensor]) -> Tensor:
        distances = [nothing_found.distance(point, x) for point in points]
        broken = [network(point).argmax(1) != labels for point in points]
        return torch.where(torch.stack(broken), torch.stack(distances), torch.inf).amin(0)

    found, expected = nearest(ours.points), nearest(theirs.points)
    assert expected.isfinite().sum() > 8
    # Rounding grows over steps, so that single distances differ.
    both = expected.isfinite() & found.isfinite()
    torch.testing.assert_close(found[both].mean(), expected[both].mean(), rtol=2e-3, atol=0)
    assert found.isfinite().sum() >= expected.isfinite().sum()


def test_images_without_a_gradient_stay() -> None:
    network, x = smooth_network(dtype=torch.float32), random_images(3, dtype=torch.float32)
    labels = network(x).argmax(1)
    settings = FabSettings(ThreatModel("linf", 0.5), num_steps=3, num_targets=1)
    assert torch.equal(fab(lambda points: network(points.detach()), x, labels, settings), x)


@pytest.mark.parametrize("norm", NORMS)
def test_points_are_finite_where_the_gradient_is_next_to_none(norm: Any) -> None:
    x = random_images(3, dtype=torch.float32)

    def saturated(points: Tensor) -> Tensor:
        faint = 1e-41 * points[..., :4].flatten(1).sum(1)  # its gradient is 0 at half of the pixels
        return torch.stack([1 - faint, faint], 1)

    recorder = Recorder(saturated)
    labels = torch.zeros(3, dtype=torch.int64)
    fab(recorder, x, labels, FabSettings(ThreatModel(norm, 0.1), num_steps=3))
    assert all(points.isfinite().all() for points in recorder.points)
    assert not torch.equal(recorder.points[-1], x)

"""Eq. 3's mixture, walks without replacement, and independence of the number of processes."""

import numpy as np
import pytest

from pyrobust.errors import UserError
from pyrobust.training.batches import BatchPlan


def make_plan(**changes: object) -> BatchPlan:
    values: dict[str, object] = {
        "batch_size": 10,
        "mixing_factor": 0.3,
        "num_original": 12,
        "num_generated": 21,
        "seed": 0,
    }
    return BatchPlan(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mixing_factor", "batch_size", "originals"),
    [(0.3, 1024, 307), (0.3, 10, 3), (1.0, 16, 16), (0.0, 16, 0), (0.5, 128, 64)],
)
def test_each_batch_holds_exactly_the_rounded_share_of_originals(
    mixing_factor: float, batch_size: int, originals: int
) -> None:
    plan = make_plan(mixing_factor=mixing_factor, batch_size=batch_size)
    for step in range(20):
        assert int((~plan.batch(step).generated).sum()) == originals


def test_each_source_is_walked_without_replacement_in_a_new_order_each_pass() -> None:
    plan = make_plan()
    batches = [plan.batch(step) for step in range(40)]
    for wanted, count in ((False, 12), (True, 21)):
        seen = np.concatenate([batch.index[batch.generated == wanted] for batch in batches])
        passes = [seen[start : start + count] for start in range(0, len(seen) - count, count)]
        assert len(passes) > 5
        for rows in passes:
            assert sorted(rows) == list(range(count))
        assert len({tuple(rows) for rows in passes}) == len(passes)


@pytest.mark.parametrize("world_size", [2, 5])
def test_the_slices_of_all_processes_are_the_batch_of_one(world_size: int) -> None:
    plan = make_plan(emulated_workers=2)
    for step in (0, 3, 17):
        whole = plan.batch(step)
        parts = [plan.batch(step, rank, world_size) for rank in range(world_size)]
        for name in ("positions", "generated", "index"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            assert np.array_equal(joined, getattr(whole, name))


def test_every_slice_holds_the_same_mixture_up_to_one_image() -> None:
    plan = make_plan(batch_size=1024)
    for size in (32, 256):
        counts = [int((~part).sum()) for part in np.split(plan.batch(5).generated, 1024 // size)]
        assert max(counts) - min(counts) <= 1


def test_emulated_workers_see_each_original_as_often_and_it_is_spread_over_the_batch() -> None:
    plan = make_plan(batch_size=1024, num_original=5000, num_generated=9000, emulated_workers=4)
    assert plan.distinct_originals == 77  # of 307, as on the authors' machines up to rounding
    batch = plan.batch(0)
    rows, counts = np.unique(batch.index[~batch.generated], return_counts=True)
    assert len(rows) == 77
    assert sorted(set(counts)) == [3, 4]
    assert len(np.unique(batch.index[batch.generated])) == 717
    first = batch.positions[batch.index == rows[counts == 4][0]]
    assert np.diff(first).min() > 200


def test_the_seed_decides_the_order() -> None:
    first, again, other = (make_plan(seed=seed).batch(4).index for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_mixture_without_generated_images_is_refused_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"mixing_factor is 0\.3, .* --mixing-factor 1"):
        make_plan(num_generated=0)
    assert make_plan(num_generated=0, mixing_factor=1.0).batch(0).index.shape == (10,)

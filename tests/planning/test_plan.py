from pathlib import Path
from typing import Any

import pytest
import yaml

from pyrobust.analysis.exact_search import block_sizes
from pyrobust.analysis.neighbours import NUM_CHECKED
from pyrobust.analysis.pca import MAX_EXACT_DIMENSIONS
from pyrobust.config.data import DatasetSettings
from pyrobust.config.experiment import Config
from pyrobust.config.generator_types import TYPES
from pyrobust.data.prepare import make_dataset
from pyrobust.planning import work
from pyrobust.planning.plan import Plan, Stage, plan_experiment
from pyrobust.planning.rates import Machine, Rate
from pyrobust.planning.sizes import ImageCounts, count_images

ROOT = Path(__file__).parents[2]
CIFAR10 = ImageCounts(48_976, 1024, 10_000, (32, 32, 3), 10)
WORK = ("start", "gradients", "classifier", "inference", "generators", "generators_fit", "gaussian",
        "gaussian_fit", "search", "visits", "pixel_visits", "points", "inverted_lists", "products",
        "pairs", "disk")  # fmt: skip
MACHINE = Machine("round", "a round machine", {work: Rate(1e9, "1/s", "made up") for work in WORK})
IN_BFLOAT16 = ("generators_bfloat16", "generators_fit_bfloat16")


def plan(machine: Machine = MACHINE, **changes: Any) -> dict[str, Stage]:
    """Return the stages of cifar10_linf with the Gaussian and changed settings, at 1 GFLOP/s."""
    values = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    values["selections"]["until_full"] = changes.pop("until_full", {})
    values["generators"]["gaussian"] = changes.pop("gaussian", {})
    values["analyses"].update(changes.pop("analyses", {}))
    values["search_jobs"] = changes.pop("search_jobs", 1)
    values["features_while_labelling"] = changes.pop("features_while_labelling", {})
    values["experiments"]["cifar10_linf"].update({"generator": "gaussian", **changes})
    found = plan_experiment(Config.model_validate(values), "cifar10_linf", CIFAR10, machine)
    return {stage.name: stage for stage in found.stages}


def test_sampling_jobs_make_whole_parts() -> None:
    stages = plan(num_samples=1_000_000)
    for name in ("sample", "label"):
        assert (stages[name].jobs, stages[name].images) == (13, 1_300_000)
    select = stages["select"]
    assert select.num_bytes == 1_000_000 * (3072 + 20)
    written = (select.seconds - MACHINE.rate("start").value) * 1e9
    assert written == pytest.approx(1_000_000 * (2 * 3072 + 20))
    assert plan(gaussian={"part_size": 50_000})["sample"].jobs == 25


def test_training_costs_steps_times_passes() -> None:
    one, two = plan(seeds=[0])["train"], plan(seeds=[0, 1])["train"]
    assert (one.jobs, two.jobs) == (1, 2)
    assert one.images == 19_531 * 1024
    # 26 passes of 10.49 GFLOP for each image, and 40 validations by PGD-40 of 1,024 images, and
    # of 256 training images twice and 256 validation images for the generalisation gap.
    passes = 26 * 19_531 * 1024 + 40 * (1024 + 3 * 256) * 81
    start = MACHINE.rate("start").value
    assert one.seconds - start == pytest.approx(10.48666 * passes, rel=1e-4)
    assert two.seconds == pytest.approx(2 * one.seconds)


def test_training_costs_the_passes_of_its_objective() -> None:
    def passes(**training: Any) -> float:
        stage = plan(seeds=[0], training={"gap_images": 0, **training})["train"]
        work_done = stage.seconds - MACHINE.rate("start").value
        return work_done / 10.48666 - 40 * 1024 * 81  # less those of the validations

    trades = passes()
    assert passes(objective="adversarial_training") == pytest.approx(23 / 26 * trades, rel=1e-4)
    assert passes(objective="mart") == pytest.approx(trades)
    assert passes(awp_gamma=0.005) == pytest.approx(32 / 26 * trades, rel=1e-4)


def test_each_set_of_images_gets_features_in_a_separate_job() -> None:
    stages = plan(num_samples=1_000_000, analyses={"labeller": {"num_images": 1_000_000}})
    start = MACHINE.rate("start").value
    for name, count in (("train", 48_976), ("test", 10_000), ("generated", 1_000_000)):
        stage = stages[f"features ({name})"]
        assert (stage.jobs, stage.images) == (1, count)
        assert stage.seconds - start == pytest.approx(10.48666 * count, rel=1e-4)


def test_a_landscape_is_planned_for_the_chosen_run() -> None:
    one, two = (plan(seeds=seeds)["landscape"] for seeds in ([0], [0, 1]))
    assert (one.jobs, one.images) == (1, 2) and one == two
    # A pass of PGD-40 and 2 × 41 rows of the planes, of 64 images each.
    passes = 64 * (81 + 2 * 41)
    assert one.seconds - MACHINE.rate("start").value == pytest.approx(10.48666 * passes, rel=1e-4)


def test_trainings_leave_weights_and_take_a_state_until_they_end() -> None:
    stages = plan(gaussian={"type": "biggan"})
    counted = TYPES["biggan"].work["paper"]
    sampling, training = counted.weights, counted.weights + counted.discriminator_weights
    fit, train = stages["fit-generator"], stages["train"]
    assert fit.num_bytes == 2 * 4 * sampling
    # The average, weights and two moments of Adam, once more while a state is written.
    assert fit.scratch_bytes == 2 * 4 * (sampling + 3 * training)
    assert train.scratch_bytes == 2 * 4 * train.num_bytes


def test_the_fids_of_keep_best_are_planned_with_the_training() -> None:
    values = {"type": "biggan", "keep_best": "fid", "fid_measures": 5, "fid_samples": 2000}
    last = plan(gaussian={"type": "biggan"})["fit-generator"].seconds
    for features, flops in (("inception.pth", 11.4e9), ("labeller.json", 10.48666e9)):
        best = plan(gaussian={**values, "fid_features": features})["fit-generator"].seconds
        samples = 5 * 2000 * TYPES["biggan"].work["paper"].flops
        expected = (samples + flops * (5 * 2000 + 48_976)) / 1e9
        assert best - last == pytest.approx(expected, rel=1e-4)


def test_weights_that_are_taken_over_are_not_trained() -> None:
    stage = plan(gaussian={"type": "ddpm", "path": "hub/ddpm-cifar10"})["fit-generator"]
    assert (stage.images, stage.scratch_bytes) == (0, 0)
    assert stage.num_bytes == 2 * 4 * TYPES["ddpm"].work["paper"].weights


def test_an_import_writes_its_images_twice_and_leaves_them_once() -> None:
    stage = plan(gaussian={"type": "imported", "path": "files"})["fit-generator"]
    assert stage.num_bytes == 1_000_000 * (3072 + 8)
    seconds = stage.seconds - MACHINE.rate("start").value
    assert seconds * 1e9 == pytest.approx(2 * 1_000_000 * 3072)


@pytest.mark.parametrize(("kind", "share"), [("ddpm", 0.5), ("vdvae", 1)])
def test_generators_are_planned_at_the_rate_of_their_precision(kind: str, share: float) -> None:
    rates = {**MACHINE.rates, **{name: Rate(2e9, "1/s", "made up") for name in IN_BFLOAT16}}
    slow = plan(generator=kind)
    fast = plan(Machine("fast", "a fast machine", rates), generator=kind)
    for name in ("fit-generator", "sample"):
        start = fast[name].jobs * MACHINE.rate("start").value
        assert fast[name].seconds - start == pytest.approx(share * (slow[name].seconds - start))


def test_distances_are_planned_where_near_copies_are_looked_for_only() -> None:
    assert "distances" not in plan()
    stage = plan(until_full={"min_distance": 0.05})["distances"]
    assert (stage.jobs, stage.num_bytes) == (13, 4 * 1_300_000)
    # Each job prepares the training images and their mirror images; they make four blocks.
    points = 2 * 48_976
    values = 2 * 1_300_000 * points + 4 * 1_300_000 + 13 * points
    seconds = stage.seconds - 13 * MACHINE.rate("start").value
    assert seconds * 1e9 == pytest.approx(3072 * values)


def test_features_that_labelling_keeps_cost_bytes_and_no_second_pass() -> None:
    apart, together = plan(), plan(features_while_labelling={"gaussian": "labeller"})
    assert together["label"].seconds == apart["label"].seconds
    assert together["label"].num_bytes - apart["label"].num_bytes == (
        1_300_000 * (4 * 640 + 4 * 10 + 16)
    )
    own = "features (generated)"
    saved = apart[own].seconds - together[own].seconds
    assert saved == pytest.approx(10.48666 * 50_000, rel=1e-4)


def analysed(search_jobs: int = 1, **analysis: Any) -> dict[str, Stage]:
    """Return the stages of an experiment with 1M samples and changed settings of its analysis."""
    return plan(num_samples=1_000_000, analyses={"labeller": analysis}, search_jobs=search_jobs)


def test_quality_is_planned_for_its_own_samples_not_those_of_the_search() -> None:
    start = MACHINE.rate("start").value
    for num_samples in (100, 10_000):
        stage = analysed(num_samples=num_samples, manifold_samples=2000)["quality"]
        # Distances of three pairs of sets, and the covariances of two for FID.
        expected = 3 * 2000**2 + 2 * 640**2 * (48_976 + 50_000)
        assert (stage.seconds - start) * 1e9 == pytest.approx(expected)


def test_a_search_is_planned_with_the_pca_before_it() -> None:
    start = MACHINE.rate("start").value
    stage = analysed(num_samples=1000)["neighbours"]
    pairs = 3 * 1000**2 + 2 * 1000**2
    pca = 2 * 2000 * 640**2 + 2 * 3000 * 640 * 100
    # Each of the samples meets three sets, of a block each.
    assert (stage.seconds - start) * 1e9 == pytest.approx(2 * 100 * pairs + pca + 100 * 3 * 1000)


@pytest.mark.parametrize("values", [100, 3072])
@pytest.mark.parametrize("memory_bytes", [10**9, 16 * 10**9])
def test_a_search_takes_as_many_blocks_as_are_planned(values: int, memory_bytes: int) -> None:
    block, _ = block_sizes(values, memory_bytes, complete=True)
    assert work.point_blocks(10**8, values, memory_bytes) == -(-(10**8) // block)


def test_subspace_iteration_passes_over_wide_features_thirteen_times() -> None:
    assert (work.EXACT_DIMENSIONS, work.NUM_CHECKED) == (MAX_EXACT_DIMENSIONS, NUM_CHECKED)
    wide = 2 * work.EXACT_DIMENSIONS
    fit, projection = 13 * 2 * 1000 * wide * (100 + 50), 2 * 3000 * wide * 100
    assert work.pca_flops(1000, 3000, wide, 100) == fit + projection


def test_an_approximate_search_is_planned_by_its_probes_and_off_the_gpu() -> None:
    values = {"num_images": 1_000_000, "num_samples": 1_000_000, "whole_sets": True}
    start = MACHINE.rate("start").value
    exact, few, many = (
        analysed(**values, **options)["neighbours"].seconds - start
        for options in ({}, *({"approximate": True, "probes": probes} for probes in (16, 64)))
    )
    assert few < many < exact / 10
    # A block of 675,000 points has 3,286 clusters, of which 64 hold about 2 % of them.
    seen = work.inverted_list_pairs(10**9, 675_000, 64, 100, 2e9) / 10**9
    assert seen == pytest.approx(3286 + 675_000 * 64 / 3286, rel=0.01)


@pytest.mark.parametrize("approximate", [False, True])
def test_a_shared_search_divides_all_but_the_pca_and_the_clusters(approximate: bool) -> None:
    values = {"num_images": 10**6, "num_samples": 10**6, "approximate": approximate}
    start = MACHINE.rate("start").value
    one, eight = (analysed(jobs, whole_sets=True, **values)["neighbours"] for jobs in (1, 8))
    originals, sizes = 48_976 + 10_000, 1_000_000 + 48_976 + 10_000
    more = 8 * work.pca_flops(originals, sizes, 640, 100) / 1e9 + 7 * start
    if approximate:
        clusters = work.inverted_list_pairs(0, 10**6, 64, 100, 2e9)
        more += 7 * 2 * 100 * clusters / 1e9
    assert eight.seconds - one.seconds == pytest.approx(more)
    assert (one.jobs, eight.jobs) == (1, 8)
    assert eight.scratch_bytes == 8 * one.scratch_bytes
    assert analysed(8, **values)["neighbours"].jobs == 1  # of a drawn subset


def test_without_generated_images_there_are_none_of_their_stages() -> None:
    assert list(plan(mixing_factor=1)) == [
        "dataset", "train-labeller", "train", "landscape", "evaluate (labeller)", "evaluate",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("jobs", "devices", "expected"), [(10, 1, 100.0), (10, 10, 10.0), (10, 4, 30.0), (10, 99, 10.0)]
)
def test_jobs_are_not_divided_among_devices(jobs: int, devices: int, expected: float) -> None:
    stage = Stage("sample", jobs, 1, 100.0, 0, MACHINE.rate("disk"))
    assert stage.wall_seconds(devices) == pytest.approx(expected)


def test_a_plan_is_the_sum_of_its_stages() -> None:
    rate = MACHINE.rate("disk")
    found = Plan("x", (Stage("a", 2, 1, 10.0, 5, rate), Stage("b", 1, 1, 7.0, 6, rate)), MACHINE)
    assert (found.seconds, found.num_bytes, found.wall_seconds(2)) == (17.0, 11, 12.0)


def test_stages_do_not_take_their_scratch_at_the_same_time() -> None:
    rate = MACHINE.rate("disk")
    stages = (Stage("a", 1, 1, 1.0, 5, rate, 30), Stage("b", 1, 1, 1.0, 6, rate, 20))
    assert Plan("x", stages, MACHINE).scratch_bytes == 30


def test_a_data_set_that_was_made_states_its_counts(tmp_path: Path) -> None:
    settings = DatasetSettings(layout="digits", validation_size=64, test_size=100)
    known = count_images("digits", settings, tmp_path)
    make_dataset("digits", tmp_path, tmp_path / "digits", settings)
    assert count_images("digits", settings, tmp_path) == known

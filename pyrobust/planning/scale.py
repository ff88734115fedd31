"""Writes docs/scale.md: what millions of generated images cost, from the same rates as a plan.

python -m pyrobust.planning.scale > docs/scale.md
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from pyrobust.config.analysis import SEARCH_MEMORY_GB, AnalysisSettings
from pyrobust.config.data import DatasetSettings, SelectionSettings
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.config.experiment import Config, ExperimentSettings
from pyrobust.config.generators import GeneratorSettings
from pyrobust.config.training import LabellerSettings
from pyrobust.planning import work
from pyrobust.planning.plan import Plan, Stage, plan_experiment
from pyrobust.planning.rates import Machine, read_machines
from pyrobust.planning.sizes import count_images
from pyrobust.planning.table import hours, size

_SIZES = (1_000_000, 10_000_000, 100_000_000)
_CLUSTER = 64
_SEARCH_MEMORY = int(1e9 * SEARCH_MEMORY_GB)
_COMPONENTS = AnalysisSettings().components
_PROJECTIONS = 4 * _COMPONENTS * _SIZES[-1]  # bytes

TEXT = """\
# Millions of images

Written by `python -m pyrobust.planning.scale` from `pyrobust/planning/rates.toml`; edit those.

What 1M, 10M and 100M generated images cost, for the paper's model of CIFAR-10 (WRN-28-10, 400
epochs, two seeds, AA+MT) and the settings that are the defaults. The same for your own settings,
before a run:

    pyrobust info --plan cifar10_linf --machine h100 --devices {cluster}

**What the hours are worth.** Work is counted: operations of each network, pairs of each search,
bytes of each store. Rates of the machine without a GPU were measured there with small networks.
Nobody measured this project on a GPU: the GPU's rates are assumptions, each with its reason, and a
GPU that does half of it takes twice as long. `--rates FILE` puts your own in their place; every
stage's `cost.json` tells the images/s that yours needs.

{rates}
## All stages

Hours of work on one {device}, and on the clock with {cluster} of them. Training does not depend on
the number of samples: 20M images are drawn from whatever there is. With {largest} samples all
stages leave {disk} on the disk; images that lie in the parts and, selected, in the training set are
counted twice, and the parts may be removed after the selection.

{stages}
## Sampling with other generators

Hours to sample so many images of 32×32 on one device, and on the clock with {cluster}. Evaluations
of the network are counted; one of BigGAN's or StyleGAN2's makes an image, DDPM's ancestral sampler
takes 1,000.

{generators}
## The analysis of all images

By default 50K images are drawn for features and 10K for complementarity and coverage, as in the
paper, so that the analysis costs the same for any number. With `num_images` and `num_samples` as
large as the set and `whole_sets: true`, every image meets every other:

{analysis}
The search, on one GPU, grows as the square. A killed one makes its PCA again and goes on behind
the last block of points that it saved, which it does every five minutes. For {largest} the PCA
takes {pca} hours of one core, counted in, and its projections {scratch} of the disk until the
search ends. With `search_memory_gb: {memory}`, the default, it has {blocks} blocks. Each sample
meets each of them, which takes {visits} hours of one core, counted in, and for each block the
projections are read again, {read} in all, which is not counted. More memory cuts both: 16 GB make
{fewer} blocks. `approximate: true` looks into the nearest clusters only, on the processor, and
tells its recall.

A selection with `min_distance` compares each of the samples that compete with every training image
and its mirror image, pixel by pixel: {distances} hours for {largest}. In {prepared} of them the
training images are prepared anew for each part, on the processor; parts of 1M take a tenth of that.

## What must fit where

- **Memory.** Stores stay on the disk and are read a shard at a time. A selection holds 5 bytes a
  sample that competes (label and score) and 13 at its peak (measured), here {selection_memory};
  images are put in order in blocks of 256 MiB, of which it holds two to three. An analysis holds
  labels in a byte a sample (two with more than 256 classes) and reads them a shard at a time; it
  draws its images with 2 bytes a sample and 13 a sample of the largest class. The search holds
  what `search_memory_gb` allows and 65 bytes a sample of its
  draw, {search_memory} where that is all {largest}. Training holds stores up to `--resident-mb`,
  larger ones not at all.
- **Jobs.** A sampling job makes `part_size` images (100K by default). Schedulers dislike
  thousands of jobs: with {largest} of a generator of few passes set `part_size: 1000000`. A job
  has an hour, doubled on each retry: 1M of DDPM's 1,000 passes take {ddpm_part} hours, beyond all
  of them, and `part_size: {ddpm_size}` stays within the first. A job that is killed goes on after
  its last whole shard, of at most 64 MiB; where an image takes many passes of a network, of 1,000
  images. Each job asks the disk for room for its own part alone; the plan tells the bytes of all,
  and whether the disk has them free.
- **Passes.** Labels, scores and features can come from one reading of the images:
  `features_while_labelling: {{ddpm: labeller}}` of the configuration keeps features of all samples
  as they are labelled, and an analysis of all images copies those of the selected ones.
- **Order.** A selection shuffles without reading at random: images are read in the order of the
  parts and sorted into blocks of 256 MiB on the disk, and each block is put in order, written and
  removed. So it writes every image twice, counted in, and takes no more of the disk than its
  result and one block. After a kill both passes go on. Measured with 19 to
  23 GiB of memory free: 8M images of 32×32, 25 GB, at 25,800 images/s, and 100M of 8×8 in 215 s
  (`benchmarks/stores.py`).
- **Reading.** Each file meets its hash before its first row is read: {hashing} hours for {largest}
  images, once for each job that reads them all.
"""


def scale_text() -> str:
    """Return the text of docs/scale.md."""
    machines = read_machines()
    machine = machines["h100"]
    plans = [_plan(count, machine) for count in _SIZES]
    largest = plans[-1]
    return TEXT.format(
        cluster=_CLUSTER,
        device="H100",
        largest="100M",
        disk=size(largest.num_bytes),
        rates=_rates(machines["h100"]),
        stages=_stages(plans),
        generators=_generators(machine),
        analysis=_analysis(machine),
        selection_memory=size(13 * _stage(largest, "sample").images),
        search_memory=size(65 * _SIZES[-1]),
        distances=hours(_distances(machine)),
        prepared=hours(_prepared(machine)),
        pca=hours(_pca(machine)),
        scratch=size(_PROJECTIONS),
        memory=f"{SEARCH_MEMORY_GB:g}",
        blocks=_blocks(_SEARCH_MEMORY),
        visits=hours(_visits(machine)),
        read=size(_blocks(_SEARCH_MEMORY) * _PROJECTIONS),
        fewer=_blocks(16 * 10**9),
        ddpm_part=hours(_image_seconds(GeneratorSettings(type="ddpm"), machine) * 1_000_000),
        ddpm_size=_part_of_an_hour(GeneratorSettings(type="ddpm"), machine),
        hashing=hours(_SIZES[-1] * 3072 / machine.rate("hashing").value),
    )


def _plan(count: int, machine: Machine, min_distance: float = 0.0, **analysis: int | bool) -> Plan:
    config = Config(
        datasets={"cifar10": DatasetSettings()},
        labellers={"wrn-28-10": LabellerSettings()},
        generators={"gaussian": GeneratorSettings()},
        selections={"until_full": SelectionSettings(min_distance=min_distance)},
        evaluations={"aa_mt": EvaluationSettings()},
        analyses={"labeller": AnalysisSettings.model_validate(analysis)},
        experiments={
            "cifar10_linf": ExperimentSettings(
                dataset="cifar10", norm="linf", epsilon="8/255", num_samples=count
            )
        },
    )
    # The counts that everybody knows, whatever was made in the folder where this runs.
    images = count_images("cifar10", config.datasets["cifar10"], Path("none"))
    return plan_experiment(config, "cifar10_linf", images, machine)


def _distances(machine: Machine) -> float:
    """Return the seconds that near-copies are looked for among the largest number of samples."""
    return _stage(_plan(_SIZES[-1], machine, min_distance=0.05), "distances").seconds


def _prepared(machine: Machine) -> float:
    """Return the seconds of them in which training images are prepared."""
    samples = _stage(_plan(_SIZES[-1], machine), "sample")
    originals = count_images("cifar10", DatasetSettings(), Path("none")).train
    found = work.pixel_distances(samples.images, samples.jobs, originals, 3072, _SEARCH_MEMORY)
    return found["points"] / machine.rate("points").value


def _blocks(memory_bytes: int) -> int:
    return work.point_blocks(_SIZES[-1], _COMPONENTS, memory_bytes)


def _visits(machine: Machine) -> float:
    """Return the seconds that the largest number of samples meets its own blocks."""
    count = _SIZES[-1]
    return work.visits(count, [count], _COMPONENTS, _SEARCH_MEMORY) / machine.rate("visits").value


def _image_seconds(settings: GeneratorSettings, machine: Machine) -> float:
    """Return the seconds that a trained generator takes for an image of 32×32."""
    rate = machine.rate(machine.kind("generators", settings.precision))
    return work.generator_work(settings).flops * settings.sampling_passes / rate.value


def _part_of_an_hour(settings: GeneratorSettings, machine: Machine) -> int:
    """Return the images of an hour, in whole ten thousands."""
    return int(3600 / _image_seconds(settings, machine)) // 10_000 * 10_000


def _pca(machine: Machine) -> float:
    """Return the seconds of the PCA before a search among the largest number of samples."""
    images = count_images("cifar10", DatasetSettings(), Path("none"))
    dimensions = work.penultimate(LabellerSettings().architecture)
    originals = images.train + images.test
    projected = originals + _SIZES[-1]
    flops = work.pca_flops(originals, projected, dimensions, _COMPONENTS)
    return flops / machine.rate("products").value


def _stage(plan: Plan, name: str) -> Stage:
    return next(stage for stage in plan.stages if stage.name == name)


def _stages(plans: Sequence[Plan]) -> str:
    rows = []
    for stages in zip(*(plan.stages for plan in plans), strict=True):
        largest = stages[-1]
        rows.append(
            [largest.name]
            + [f"{hours(s.seconds)} ({hours(s.wall_seconds(_CLUSTER))})" for s in stages]
            + [f"{largest.jobs:,}", size(largest.num_bytes), largest.rate.basis]
        )
    rows.append(
        ["together"]
        + [f"{hours(p.seconds)} ({hours(p.wall_seconds(_CLUSTER))})" for p in plans]
        + [f"{sum(s.jobs for s in plans[-1].stages):,}", size(plans[-1].num_bytes), ""]
    )
    return _table(["stage", "1M", "10M", "100M", "jobs (100M)", "disk (100M)", "rate"], rows)


def _generators(machine: Machine) -> str:
    def row(name: str, passes: str, seconds: Callable[[int], float], basis: str) -> list[str]:
        shown = [f"{hours(seconds(n))} ({hours(seconds(n) / _CLUSTER)})" for n in _SIZES]
        return [name, passes, *shown, basis]

    gaussian = machine.rate("gaussian")
    rows = [row("gaussian", "", lambda n: 2 * 3072**2 * n / gaussian.value, gaussian.basis)]
    for name, preset in work.GENERATORS:
        if preset != "paper":
            continue
        settings = GeneratorSettings.model_validate({"type": name})
        rate = machine.rate(machine.kind("generators", settings.precision))
        seconds = _image_seconds(settings, machine).__mul__
        rows.append(row(name, f"{settings.sampling_passes:,}", seconds, rate.basis))
    return _table(["generator", "passes an image", "1M", "10M", "100M", "rate"], rows)


def _analysis(machine: Machine) -> str:
    rows = []
    for count in _SIZES:
        plan = _plan(count, machine, num_images=count, num_samples=count, whole_sets=True)
        cells = [
            text
            for stage in (_stage(plan, "features"), _stage(plan, "neighbours"))
            for text in (hours(stage.seconds), size(stage.num_bytes))
        ]
        rows.append([f"{count:,}", *cells])
    head = ["images", "features, hours", "features, disk", "search, hours", "pairs, disk"]
    return _table(head, rows)


def _rates(machine: Machine) -> str:
    rows = [
        [work_, f"{rate.value:.3g} {rate.unit}", rate.basis, rate.source]
        for work_, rate in machine.rates.items()
    ]
    return _table(["work", "rate", "", "source"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    print(scale_text(), end="")

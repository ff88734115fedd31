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

`python -m pyrobust.planning.scale` generates this page from `pyrobust/planning/rates.toml`.

Estimated cost of 1M, 10M and 100M generated images for the paper's CIFAR-10 model (WRN-28-10, 400
epochs, two training runs, AA+MT) with default settings. To estimate the cost of your own settings
before a run:

    pyrobust info --plan cifar10_linf --machine h100 --devices {cluster}

**Accuracy of the estimates.** Work is counted: operations of each network, pairs of each search,
bytes of each store. CPU rates were measured with small networks. GPU rates have not been measured;
they are assumptions, listed below with their reasons. A GPU with half the rate takes twice as long.
`--rates FILE` uses your own rates, which you can derive from the images/s in each stage's
`cost.json`.

{rates}
## All stages

Hours on one {device} and, in parentheses, wall-clock hours on {cluster}. The cost of training does
not depend on the number of samples: it always draws 20M images. With {largest} samples all stages
together write {disk}. This counts selected images twice, in their part and in the training set; the
parts can be deleted after the selection.

{stages}
## Sampling with other generators

Hours to sample images of 32×32 on one device and, in parentheses, wall-clock hours on {cluster}.
The cost is proportional to the passes through the network: BigGAN and StyleGAN2 need one per image,
DDPM's ancestral sampler 1,000.

{generators}
## Analysis of all images

By default, the analysis draws 50K images for features and 10K for complementarity and coverage, as
in the paper, so its cost does not depend on the number of samples. With `num_images` and
`num_samples` as large as the set and `whole_sets: true`, it compares every image with every other:

{analysis}
The cost of the search, on one GPU, grows quadratically. For {largest} images, its hours include:

- {pca} h on one CPU core for the PCA. Its projections take {scratch} of disk space until the search
  ends.
- {visits} h on one CPU core to compare each sample with {blocks} blocks of points. The number of
  blocks depends on `search_memory_gb` (default {memory}): with 16 GB there are {fewer}.

They do not include reading the projections once per block, {read} in total. An interrupted search
repeats its PCA and resumes at the last saved block; it saves every five minutes.
`approximate: true` searches only the nearest clusters, on the CPU, and estimates its recall.

A selection with `min_distance` compares each candidate pixel by pixel with every training image and
its mirror image: {distances} h for {largest} images, of which {prepared} h prepare the training
images on the CPU, once per part. With parts of 1M images, this preparation takes a tenth.

## Memory, disk and jobs

- **Memory.** Stores stay on disk and are read one shard at a time. A selection needs 5 bytes per
  candidate (label and score) and 13 at its peak (measured), here {selection_memory}, plus two to
  three blocks of 256 MiB for shuffling. An analysis needs one byte per sample for labels (two with
  more than 256 classes); drawing its images needs 2 bytes per sample and 13 per sample of the
  largest class. A search needs `search_memory_gb` plus 65 bytes per sample searched,
  {search_memory} for {largest}. Training keeps stores of up to `--resident-mb` in memory and reads
  larger ones from disk.
- **Jobs.** A sampling job draws `part_size` images (100K by default). To avoid thousands of jobs
  with {largest} images, set `part_size: 1000000` for generators with few passes per image. A job
  may take an hour, doubled on each retry. 1M images of DDPM with 1,000 passes take {ddpm_part} h,
  longer than any retry allows; with `part_size: {ddpm_size}`, the first attempt suffices. An
  interrupted job resumes after its last complete shard of at most 64 MiB (1,000 images for
  generators with many passes). Each job requests disk space only for its own part; `info --plan`
  prints the total and compares it with the free space.
- **Features during labelling.** `features_while_labelling: {{ddpm: labeller}}` in the configuration
  computes labels, scores and features in one pass over the images, and an analysis of all images
  copies the features of the selected ones.
- **Shuffling.** A selection reads images in the order of the parts, sorts them into blocks of
  256 MiB on disk, and shuffles, writes and deletes one block at a time. It therefore writes every
  image twice (included in the hours), and needs disk space for its result and one block. Both
  passes resume. Measured with 19 to 23 GiB of free memory: 8M images of 32×32 (25 GB) at
  25,800 images/s, and 100M images of 8×8 in 215 s (`benchmarks/stores.py`).
- **Verification.** Each file's hash is verified before its first row is read: {hashing} h for
  {largest} images, once for each job that reads all of them.
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
    # The well-known counts, whatever data sets the current folder contains.
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

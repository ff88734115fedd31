"""The stages of an experiment with their jobs, hours and bytes, from its settings and rates."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pyrobust.config.evaluation import LandscapeSettings
from pyrobust.config.experiment import Config, ExperimentSettings, check_training
from pyrobust.planning import sizes, work
from pyrobust.planning.rates import Machine, Rate
from pyrobust.planning.sizes import ImageCounts

# Bytes a weight of a training's state: the new one exists next to the old until it is complete. A
# classifier's holds weights, momentum, averages and the best of them.
_STATE_BYTES = 2 * 4
_CLASSIFIER_STATE = 4 * _STATE_BYTES

# Bytes of a point of a landscape, as JSON.
_POINT_BYTES = 20


@dataclass(frozen=True)
class Stage:
    """What one stage costs."""

    name: str
    jobs: int
    images: int
    """Images that it makes or reads, all jobs together."""
    seconds: float
    """Of work, all jobs together; they may run side by side."""
    num_bytes: int
    """That it leaves on the disk."""
    rate: Rate
    """Rate that most of the seconds are based on."""
    scratch_bytes: int = 0
    """That it takes besides until it is done, such as the state that a killed job resumes from."""

    def wall_seconds(self, devices: int) -> float:
        """Return the time that it takes on so many equal devices, jobs being indivisible."""
        return math.ceil(self.jobs / devices) * self.seconds / self.jobs


@dataclass(frozen=True)
class Plan:
    """What an experiment costs on a machine; no stage of another experiment is reused."""

    name: str
    stages: tuple[Stage, ...]
    machine: Machine

    @property
    def seconds(self) -> float:
        """Seconds of all stages on one device."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def num_bytes(self) -> int:
        """Bytes of all stages."""
        return sum(stage.num_bytes for stage in self.stages)

    @property
    def scratch_bytes(self) -> int:
        """Bytes that the stage with the most of them takes besides, until it is done."""
        return max(stage.scratch_bytes for stage in self.stages)

    def wall_seconds(self, devices: int) -> float:
        """Return the time of the stages one after another, the jobs of each side by side."""
        return sum(stage.wall_seconds(devices) for stage in self.stages)


def plan_experiment(config: Config, name: str, images: ImageCounts, machine: Machine) -> Plan:
    """Return the plan of `config.experiments[name]` on the images of its data set."""
    return Plan(name, tuple(_Planner(config, name, images, machine).stages()), machine)


class _Planner:
    def __init__(self, config: Config, name: str, images: ImageCounts, machine: Machine) -> None:
        self.experiment: ExperimentSettings = config.experiments[name]
        self.labeller = config.labellers[self.experiment.labeller]
        self.generator = config.generators[self.experiment.generator]
        self.selection = config.selections[self.experiment.selection]
        self.evaluation = config.evaluations[self.experiment.evaluation]
        self.analysis = config.analyses[self.experiment.analysis]
        self.evaluation_jobs = config.evaluation_jobs
        self.search_jobs = config.search_jobs if self.analysis.whole_sets else 1
        self.search_memory = int(1e9 * config.search_memory_gb)
        kept_for = config.features_while_labelling.get(self.experiment.generator)
        self.while_labelling = kept_for == self.experiment.analysis
        self.training = check_training(self.experiment)
        self.images = images
        self.machine = machine
        self.pixels = math.prod(images.image_shape)

    def stages(self) -> Iterator[Stage]:
        """Yield the stages in the order of the flow."""
        count, row_bytes = self.images.all, sizes.original_row(self.images.image_shape)
        yield self.stage("dataset", "disk", count * self.pixels, count, 1, row_bytes)
        yield self.train_labeller()
        if self.experiment.uses_generated:
            yield from self.generated()
        yield self.train()
        yield self.landscape()
        yield self.evaluate_labeller()
        yield self.evaluate()

    def stage(
        self,
        name: str,
        kind: str,
        amount: float,
        images: int,
        jobs: int,
        row_bytes: int = 0,
        more_bytes: int = 0,
        scratch_bytes: int = 0,
        more_work: Mapping[str, float] | None = None,
    ) -> Stage:
        """Return a stage of `amount` units of one kind of work.

        Args:
            more_work: kind → units of what the same jobs do besides.
        """
        rates = {kind: self.machine.rate(kind) for kind in (kind, *(more_work or ()))}
        amounts = {**(more_work or {}), kind: amount}
        seconds = {kind: amounts[kind] / rates[kind].value for kind in rates}
        together = sum(seconds.values()) + jobs * self.machine.rate("start").value
        most = rates[max(seconds, key=lambda kind: seconds[kind])]
        num_bytes = row_bytes * images + more_bytes
        return Stage(name, jobs, images, together, num_bytes, most, scratch_bytes)

    @cached_property
    def labeller_flops(self) -> int:
        flops, _ = self.classifier(self.labeller.architecture)
        return flops

    def classifier(self, architecture: str) -> tuple[int, int]:
        return work.classifier(architecture, self.images.image_shape, self.images.num_classes)

    def train_labeller(self) -> Stage:
        flops, weights = self.classifier(self.labeller.architecture)
        count = round(self.labeller.epochs * self.labeller.epoch_size)
        state = _CLASSIFIER_STATE * weights
        return self.stage(
            "train-labeller", "classifier", 3 * flops * count, count, 1, 0, 4 * weights, state
        )

    def generated(self) -> Iterator[Stage]:
        """Yield the stages that make and measure generated images."""
        jobs = self.selection.num_parts(self.experiment.num_samples, self.generator.part_size)
        count = jobs * self.generator.part_size
        yield self.fit_generator()
        yield self.sample(count, jobs)
        yield self.label(count, jobs)
        if self.selection.min_distance > 0:
            found = work.pixel_distances(
                count, jobs, self.images.train, self.pixels, self.search_memory
            )
            compared = found["search"]
            yield self.stage("distances", "search", compared, count, jobs, 4, more_work=found)
        kept = self.experiment.num_samples
        row_bytes = sizes.selected_row(self.images.image_shape)
        # Images are written into blocks of the shuffled set, and then into their places.
        written = kept * (row_bytes + self.pixels)
        yield self.stage("select", "disk", written, kept, 1, row_bytes)
        yield from self.analyse()

    def fit_generator(self) -> Stage:
        kind, values = self.generator.type, self.pixels
        if kind == "imported":
            count = self.experiment.num_samples
            row_bytes = sizes.original_row(self.images.image_shape)
            # Into blocks of the shuffled set, and then into their places.
            return self.stage("fit-generator", "disk", 2 * count * values, count, 1, row_bytes)
        if kind == "gaussian":
            flops = 2 * self.images.train * values**2 + self.images.num_classes * values**3 / 3
            weights = sizes.gaussian(values, self.images.train, self.images.num_classes)
            return self.stage(
                "fit-generator", "gaussian_fit", flops, self.images.train, 1, 0, weights
            )
        network, steps = work.generator_work(self.generator), self.generator.training_steps
        kept = 2 * 4 * network.weights  # averaged and live
        if self.generator.path is not None:  # pretrained weights are copied
            return self.stage("fit-generator", "disk", kept, 0, 1, 0, kept)
        flops = steps * self.generator.batch_size * network.training_passes * self.generator_pass
        images = steps * self.generator.images_per_step
        measured = self.measured_fids()
        work_kind = self.machine.kind("generators_fit", self.generator.precision)
        # The average, and weights and two moments of each network.
        state = _STATE_BYTES * (4 * network.weights + 3 * network.discriminator_weights)
        return self.stage(
            "fit-generator", work_kind, flops, images, 1, 0, kept, state, more_work=measured
        )

    def measured_fids(self) -> dict[str, float]:
        """Return the work of the FIDs that `keep_best` measures; the training images count once."""
        settings = self.generator
        if settings.keep_best is None:
            return {}
        samples = settings.fid_measures * settings.fid_samples
        by_labeller = settings.fid_features.endswith("labeller.json")
        features = self.labeller_flops if by_labeller else work.INCEPTION_FLOPS
        return {
            self.machine.kind("generators", settings.precision): samples
            * settings.sampling_passes
            * self.generator_pass,
            "inference": (samples + self.images.train) * features,
        }

    @property
    def generator_pass(self) -> float:
        """Operations of one pass of the generator's network."""
        return work.generator_pass(self.generator, self.images.image_shape)

    def sample(self, count: int, jobs: int) -> Stage:
        kind, amount = self.generator.type, float(count)
        if kind == "imported":
            work_kind, amount = "disk", amount * self.pixels
        elif kind == "gaussian":
            work_kind, amount = "gaussian", 2 * amount * self.pixels**2
        else:
            work_kind = self.machine.kind("generators", self.generator.precision)
            amount *= self.generator.sampling_passes * self.generator_pass
        row_bytes = sizes.sample_row(self.images.image_shape, self.generator)
        return self.stage("sample", work_kind, amount, count, jobs, row_bytes)

    def label(self, count: int, jobs: int) -> Stage:
        flops: float = self.labeller_flops
        row_bytes = sizes.label_row(self.generator)
        if self.while_labelling:
            # The labeller's own features cost no pass of theirs.
            flops += 0 if self.analysis.extractor == "labeller" else self.extractor[0]
            row_bytes += self.feature_bytes
        return self.stage("label", "inference", count * flops, count, jobs, row_bytes)

    @cached_property
    def extractor(self) -> tuple[float, int]:
        """Operations an image of the extractor, and its dimensions."""
        if self.analysis.extractor == "labeller":
            return self.labeller_flops, work.penultimate(self.labeller.architecture)
        return work.extractor(self.analysis.extractor, self.images.image_shape)

    @property
    def feature_bytes(self) -> int:
        """Bytes of the features of an image."""
        settings, dimensions = self.analysis, self.extractor[1]
        return sizes.feature_row(
            settings.extractor, settings.dtype, dimensions, self.images.num_classes
        )

    def analyse(self) -> Iterator[Stage]:
        """Yield features, neighbours and quality."""
        sets = (self.images.train, self.images.test, self.experiment.num_samples)
        counts = [min(self.analysis.num_images, size) for size in sets]
        flops, dimensions = self.extractor
        for name, count in zip(("train", "test", "generated"), counts, strict=True):
            copied = name == "generated" and self.while_labelling
            work_of_set = 0.0 if copied else count * flops
            yield self.stage(
                f"features ({name})", "inference", work_of_set, count, 1, self.feature_bytes
            )
        yield self.neighbours(counts, dimensions)
        original, _, generated = counts
        pairs = sum(
            min(self.analysis.manifold_samples, one) * min(self.analysis.manifold_samples, other)
            for one, other in ((original, original), (original, generated), (generated, generated))
        )
        moments = {"products": 2.0 * dimensions**2 * (original + generated)}
        count = original + generated
        yield self.stage("quality", "pairs", pairs, count, 1, 0, more_work=moments)

    def neighbours(self, counts: Sequence[int], dimensions: int) -> Stage:
        """Return the stage of Algorithm 1 on features of so many training, test and own images."""
        if not self.analysis.whole_sets:
            counts = [min(self.analysis.num_samples, *counts)] * 3
        train, test, own = counts
        components = min(self.analysis.components, dimensions)
        jobs = self.search_jobs
        more_work = work.neighbour_search(
            counts, components, self.analysis, self.search_memory, jobs
        )
        products = work.pca_flops(train + test, sum(counts), dimensions, components)
        projections = 4 * components * sum(counts)
        if jobs > 1:  # each share and the job that completes them project the images
            products *= jobs + 1
            projections *= jobs
        return self.stage(
            "neighbours", "products", products, own, jobs, 100, 0, projections, more_work
        )

    def train(self) -> Stage:
        flops, weights = self.classifier(self.training.architecture)
        steps = max(
            1, int(self.training.epochs * self.training.epoch_size / self.training.batch_size)
        )
        count = steps * self.training.batch_size
        # The generalisation gap takes training images twice and validation images once more.
        images = self.images.validation + 3 * self.training.gap_images
        validated = min(self.training.validations, steps) * images
        passes = count * work.training_passes(self.training) + validated * work.validation_passes()
        jobs = len(self.experiment.seeds)
        kind = self.machine.kind("gradients", self.training.precision)
        kept, state = jobs * 4 * weights, jobs * _CLASSIFIER_STATE * weights
        return self.stage("train", kind, jobs * passes * flops, jobs * count, jobs, 0, kept, state)

    def landscape(self) -> Stage:
        flops, _ = self.classifier(self.training.architecture)
        settings = LandscapeSettings()
        count = min(settings.num_images, self.images.test)
        attack, planes = work.landscape_passes(settings, count)
        row_bytes = _POINT_BYTES * settings.resolution**2
        more_work = {"inference": float(planes * flops)}
        return self.stage(
            "landscape", "gradients", attack * flops, count, 1, row_bytes, more_work=more_work
        )

    def evaluate_labeller(self) -> Stage:
        # It falls to the first attack.
        passes = work.attack_passes(self.evaluation, self.images.num_classes, standing=0)
        count = min(self.evaluation.num_images or self.images.test, self.images.test)
        kind = self.machine.kind("gradients", self.evaluation.search)
        amount = count * passes * self.labeller_flops
        return self.stage("evaluate (labeller)", kind, amount, count, 1, 100)

    def evaluate(self) -> Stage:
        flops, _ = self.classifier(self.training.architecture)
        runs = len(self.experiment.seeds) if self.experiment.test_runs == "all" else 1
        count = runs * min(self.evaluation.num_images or self.images.test, self.images.test)
        passes = work.attack_passes(self.evaluation, self.images.num_classes, work.STANDING)
        kind = self.machine.kind("gradients", self.evaluation.search)
        jobs = runs * self.evaluation_jobs
        return self.stage("evaluate", kind, count * passes * flops, count, jobs, 100)

"""Published numbers to compare with: the paper's, and RobustBench's leaders."""

from dataclasses import dataclass, field
from typing import Any

from pyrobust.reporting.accuracies import Cascade
from pyrobust.reporting.protocols import AUTHORS_MIXING_FACTOR, ONE_MILLION, paper_epochs
from pyrobust.reporting.wording import cascade_name

# Tables 2 and 3: stages of AutoAttack in the order of its cascade.
_AUTOATTACK = ("apgd-ce", "apgd-t", "fab-t", "square")


@dataclass(frozen=True)
class PaperResult:
    """One model of the paper; accuracies are fractions, None where no table prints them."""

    dataset: str
    norm: str
    epsilon: str
    architecture: str
    generator: str | None
    num_samples: int
    robust_accuracy: float
    source: str
    clean_accuracy: float | None = None
    aa_mt: float | None = None
    autoattack_stages: dict[str, float] = field(default_factory=dict)
    mixing_factor: float | None = None
    """Share of original images; None for the best one, where the paper does not say which."""
    epochs: float = 400.0

    external_data: str = ""
    """Other real images that it was trained on; the paper compares with such models only in its
    introduction."""
    num_runs: int = 1
    """Runs whose mean `robust_accuracy` is; 1: the better of two by validation."""

    attack: Cascade = "worst"
    """What `robust_accuracy` is under."""

    def robust_under(self, cascade: Cascade) -> tuple[float, Cascade]:
        """Return the robust accuracy to compare with one under `cascade`, and its attack."""
        if cascade == "aa_mt" and self.aa_mt is not None:
            return self.aa_mt, "aa_mt"
        return self.robust_accuracy, self.attack

    def beside(
        self, cascade: Cascade, mixing_factor: float, epochs: float, recipe: str
    ) -> dict[str, Any]:
        """Return what to compare with a run of ours: `robust_accuracy`, `attack` and `differs`.

        Args:
            cascade: the attack on our run.
            mixing_factor, epochs, recipe: of our training.
        """
        accuracy, attack = self.robust_under(cascade)
        differs = unlike(self, mixing_factor, epochs, recipe)
        differs += unlike_protocol(attack, self.num_runs, cascade)
        return {"robust_accuracy": accuracy, "attack": attack, "differs": differs}


@dataclass(frozen=True)
class PaperQuality:
    """Inception metrics of a generator's samples."""

    fid: float
    inception_score: float
    inception_score_std: float | None
    """None where the text gives none."""
    source: str


def _model(
    task: tuple[str, str, str],
    architecture: str,
    generator: str | None,
    clean: float | None,
    robust: float,
    source: str,
    aa_mt: float | None = None,
    stages: tuple[float, ...] = (),
    num_samples: int = ONE_MILLION,
    mixing_factor: float | None = None,
    external_data: str = "",
    num_runs: int = 1,
) -> PaperResult:
    """Return a model whose accuracies are given in percent, as the paper prints them.

    What the text states of its own models without a table is under AA+MT (appendix A).
    """
    dataset, norm, epsilon = task
    attack: Cascade = "worst"
    if aa_mt is None and not source.startswith("Table") and not external_data:
        aa_mt, attack = robust, "aa_mt"
    return PaperResult(
        dataset=dataset,
        norm=norm,
        epsilon=epsilon,
        architecture=architecture,
        generator=generator,
        num_samples=num_samples if generator else 0,
        clean_accuracy=None if clean is None else fraction(clean),
        robust_accuracy=fraction(robust),
        aa_mt=None if aa_mt is None else fraction(aa_mt),
        autoattack_stages=dict(zip(_AUTOATTACK, map(fraction, stages), strict=False)),
        source=source,
        mixing_factor=mixing_factor if generator else 1.0,
        epochs=paper_epochs(num_samples if generator else 0),
        external_data=external_data,
        num_runs=num_runs,
        attack=attack,
    )


def fraction(percent: float) -> float:
    """Return the share that the paper prints in percent."""
    return round(percent / 100, 6)


_CIFAR10_LINF = ("cifar10", "linf", "8/255")
_CIFAR10_L2 = ("cifar10", "l2", "128/255")
_CIFAR100_LINF = ("cifar100", "linf", "8/255")
_SVHN_LINF = ("svhn", "linf", "8/255")
_TINYIMAGENET_LINF = ("tinyimagenet", "linf", "8/255")
_WITHOUT_DATA = "section 6, no generated data"
_BOTH = "Tables 2 and 3"
# Section 6.2: its samples were restricted to the 200 classes.
DDPM_OF_TINYIMAGENET = "a DDPM of ImageNet's images"

RESULTS: tuple[PaperResult, ...] = (
    _model(_CIFAR10_LINF, "resnet-18", None, None, 50.64, _WITHOUT_DATA),
    _model(
        _CIFAR10_LINF,
        "wrn-28-10",
        None,
        None,
        54.44,
        "section 6, mean of ten runs, ±0.39",
        num_runs=10,
    ),
    _model(
        _CIFAR10_LINF,
        "wrn-70-16",
        None,
        None,
        65.87,
        "section 1 and Figure 1 (Gowal et al. 2020)",
        external_data="80M Tiny Images",
    ),
    _model(_CIFAR10_LINF, "wrn-70-16", None, 85.29, 57.14, "Table 2 (Gowal et al. 2020)"),
    _model(_CIFAR10_LINF, "wrn-34-10", None, 85.36, 56.17, "Table 2 (Wu et al. 2020)"),
    _model(
        _CIFAR10_LINF,
        "wrn-28-10",
        "gaussian",
        None,
        55.37,
        "section 3.2: +0.93 over 54.44%",
        mixing_factor=0.8,
    ),
    _model(_CIFAR10_LINF, "wrn-28-10", "biggan", None, 43.34, "appendix B", mixing_factor=0.0),
    _model(_CIFAR10_LINF, "wrn-28-10", "ddpm", None, 58.43, "appendix B", mixing_factor=0.0),
    _model(_CIFAR10_LINF, "wrn-28-10", "stylegan2", None, 58.17, "section 6.2: +3.73 over 54.44%"),
    _model(
        _CIFAR10_LINF, "wrn-28-10", "ddpm", 85.97, 60.73, _BOTH, 60.73, (63.53, 60.73, 60.73, 60.73)
    ),
    _model(
        _CIFAR10_LINF, "wrn-70-16", "ddpm", 86.94, 63.58, _BOTH, 63.58, (65.95, 63.62, 63.62, 63.62)
    ),
    _model(
        _CIFAR10_LINF,
        "wrn-70-16",
        "ddpm",
        88.74,
        66.10,
        "Tables 2 and 3, 2000 epochs",
        66.10,
        (68.46, 66.13, 66.11, 66.11),
        num_samples=100 * ONE_MILLION,
    ),
    _model(_CIFAR10_L2, "wrn-34-10", None, 88.51, 73.66, "Table 2 (Wu et al. 2020)"),
    _model(_CIFAR10_L2, "wrn-70-16", None, 90.90, 74.50, "Table 2 (Gowal et al. 2020)"),
    _model(
        _CIFAR10_L2, "wrn-28-10", "ddpm", 90.24, 77.37, _BOTH, 77.37, (78.13, 77.44, 77.44, 77.44)
    ),
    _model(
        _CIFAR10_L2,
        "wrn-70-16",
        "ddpm",
        90.83,
        78.31,
        "Tables 2 and 3 (clean 90.83% in the one, 90.93% in the other)",
        78.31,
        (78.97, 78.39, 78.39, 78.39),
    ),
    _model(_CIFAR100_LINF, "wrn-34-10", None, 60.64, 29.33, "Table 2 (Cui et al. 2020)"),
    _model(_CIFAR100_LINF, "wrn-70-16", None, 60.86, 30.03, "Table 2 (Gowal et al. 2020)"),
    _model(
        _CIFAR100_LINF,
        "wrn-28-10",
        "ddpm",
        59.18,
        30.81,
        _BOTH,
        31.23,
        (34.47, 30.81, 30.81, 30.81),
    ),
    _model(
        _CIFAR100_LINF,
        "wrn-70-16",
        "ddpm",
        60.46,
        33.49,
        _BOTH,
        33.93,
        (36.27, 33.49, 33.49, 33.49),
    ),
    _model(_SVHN_LINF, "wrn-28-10", None, 92.87, 56.83, "Table 2"),
    _model(_SVHN_LINF, "wrn-28-10", "ddpm", 94.15, 60.90, "Table 2"),
    _model(_TINYIMAGENET_LINF, "wrn-28-10", None, 51.56, 21.56, "Table 2"),
    _model(
        _TINYIMAGENET_LINF, "wrn-28-10", "ddpm", 60.95, 26.66, f"Table 2, {DDPM_OF_TINYIMAGENET}"
    ),
)

# By data set and kind of generator, or augmentation.
SELECTED_QUALITY: dict[tuple[str, str], PaperQuality] = {
    ("cifar10", "mixup"): PaperQuality(7.71, 9.33, 0.22, "Table 4"),
    ("cifar10", "gaussian"): PaperQuality(117.62, 3.64, 0.03, "Table 4"),
    ("cifar10", "vdvae"): PaperQuality(26.44, 6.88, 0.05, "Table 4"),
    ("cifar10", "biggan"): PaperQuality(13.78, 9.73, 0.07, "Table 4"),
    ("cifar10", "stylegan2"): PaperQuality(2.57, 10.07, None, "section 5"),
    ("cifar10", "ddpm"): PaperQuality(3.15, 9.50, 0.14, "Table 4"),
}
# Before any sample is selected.
RAW_QUALITY: dict[tuple[str, str], PaperQuality] = {
    ("cifar10", "gaussian"): PaperQuality(117.62, 3.64, None, "appendix D"),
    ("cifar10", "vdvae"): PaperQuality(36.88, 6.03, None, "appendix D"),
    ("cifar10", "biggan"): PaperQuality(11.07, 9.71, None, "appendix D"),
    ("cifar10", "stylegan2"): PaperQuality(2.57, 10.04, None, "appendix D"),
    ("cifar10", "ddpm"): PaperQuality(3.15, 9.50, None, "appendix D"),
    ("cifar100", "ddpm"): PaperQuality(5.58, 10.82, None, "footnote 7, before selection"),
    ("svhn", "ddpm"): PaperQuality(4.89, 3.06, None, "footnote 8, before selection"),
}


def quality_of(dataset: str, kind: str) -> PaperQuality | None:
    """Return the paper's Inception metrics for a generator: of its selected samples if stated."""
    key = (dataset, kind)
    return SELECTED_QUALITY.get(key, RAW_QUALITY.get(key))


def results_on(dataset: str, norm: str, epsilon: str) -> list[PaperResult]:
    """Return the paper's models for one perturbation set of one data set, weakest first."""
    task = (dataset, norm, epsilon)
    return sorted(
        (r for r in RESULTS if (r.dataset, r.norm, r.epsilon) == task),
        key=lambda result: result.robust_accuracy,
    )


def result_of(
    dataset: str,
    norm: str,
    epsilon: str,
    architecture: str,
    generator: str | None,
    num_samples: int,
    mixing_factor: float | None = None,
) -> PaperResult | None:
    """Return the paper's model of the same task, architecture and generated data, if any.

    Args:
        generator: kind of generative model; None where no generated image is used.
        num_samples: generated images; 0 where `generator` is None.
        mixing_factor: of several such models, the one at this mixing factor is taken, else the
            best one.
    """
    # Class-conditional samples of the EDM stand in for those of a class-conditional DDPM.
    if (dataset, generator) == ("tinyimagenet", "edm"):
        generator = "ddpm"
    alike = [
        result
        for result in results_on(dataset, norm, epsilon)
        if (result.architecture, result.generator, result.num_samples, result.external_data)
        == (architecture, generator, num_samples, "")
    ]
    exact = [result for result in alike if result.mixing_factor == mixing_factor]
    return exact[-1] if exact else alike[-1] if alike else None


def unlike(result: PaperResult, mixing_factor: float, epochs: float, recipe: str) -> list[str]:
    """Return in which settings of the training the paper's model differs from one of ours."""
    found = []
    if result.source.endswith(DDPM_OF_TINYIMAGENET):
        found.append(f"a generator of TinyImageNet's images (paper: {DDPM_OF_TINYIMAGENET})")
    stated = result.mixing_factor
    theirs = "its best, not stated" if stated is None else f"{stated:g}"
    task = (result.dataset, result.norm, result.generator)
    if stated is None and task == ("cifar10", "linf", "ddpm"):  # that of the authors' code
        stated = AUTHORS_MIXING_FACTOR
        theirs += f"; {stated:g} in the authors' code"
    if mixing_factor != stated:
        found.append(f"mixing factor {mixing_factor:g} (paper: {theirs})")
    return found + unlike_training(result.epochs, epochs, recipe)


def unlike_training(their_epochs: float, epochs: float, recipe: str) -> list[str]:
    """Return in which settings that hold for any mixing factor the trainings differ."""
    found = []
    if epochs != their_epochs:
        found.append(f"{epochs:g} epochs (paper: {their_epochs:g})")
    if recipe not in ("gowal21", "authors"):
        found.append(f"recipe {recipe} (paper: gowal21)")
    return found


def unlike_protocol(attack: Cascade, num_runs: int, cascade: Cascade) -> list[str]:
    """Return in what one of the paper's robust accuracies differs from that of a run of ours.

    Args:
        attack, num_runs: what the paper's is under, and of how many runs it is the mean.
        cascade: what ours is under.
    """
    found = []
    if attack != cascade:
        found.append(f"{cascade_name(cascade)} (paper: {cascade_name(attack)})")
    if num_runs > 1:
        found.append(f"the run that validation chose (paper: mean of {num_runs} runs)")
    return found


SNAPSHOT = "2025-03-31"


@dataclass(frozen=True)
class Entry:
    """One entry of the leaderboard; accuracies are fractions, robust accuracy by AutoAttack."""

    model: str
    architecture: str
    clean_accuracy: float
    robust_accuracy: float
    data: str


# RobustBench's l2 board has radius 0.5, that is 127.5/255.
LEADERS: dict[tuple[str, str, str], tuple[Entry, ...]] = {
    ("cifar10", "linf", "8/255"): (
        Entry("Bartoldson2024", "wrn-94-16", 0.9368, 0.7371, "300M generated"),
        Entry("Wang2023", "wrn-70-16", 0.9325, 0.7069, "50M generated"),
        Entry("Wang2023", "wrn-28-10", 0.9244, 0.6731, "20M generated"),
        Entry("Gowal2021", "wrn-28-10", 0.8750, 0.6338, "100M generated"),
    ),
    ("cifar10", "l2", "128/255"): (
        Entry("Wang2023", "wrn-70-16", 0.9554, 0.8497, "50M generated"),
        Entry("Wang2023", "wrn-28-10", 0.9516, 0.8368, "50M generated"),
        Entry("Rebuffi2021", "wrn-28-10", 0.9179, 0.7880, "1M generated"),
    ),
    ("cifar100", "linf", "8/255"): (
        Entry("Wang2023", "wrn-70-16", 0.7522, 0.4266, "50M generated"),
        Entry("Wang2023", "wrn-28-10", 0.7258, 0.3877, "50M generated"),
        Entry("Rebuffi2021", "wrn-70-16", 0.6356, 0.3464, "1M generated"),
    ),
}


def leaders_on(dataset: str, norm: str, epsilon: str) -> tuple[Entry, ...]:
    """Return the leading entries of one task; none where RobustBench has no board."""
    return LEADERS.get((dataset, norm, epsilon), ())

"""Numbers that the paper prints, to stand beside ours (Gowal et al. 2021)."""

from dataclasses import dataclass, field

# Tables 2 and 3: stages of AutoAttack in the order of its cascade.
_AUTOATTACK = ("apgd-ce", "apgd-t", "fab-t", "square")

ONE_MILLION = 1_000_000


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


@dataclass(frozen=True)
class PaperQuality:
    """Inception metrics of a generator's selected CIFAR-10 samples (Table 4; section 5)."""

    fid: float
    inception_score: float


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
) -> PaperResult:
    """Return a model whose accuracies are given in percent, as the paper prints them."""
    dataset, norm, epsilon = task
    return PaperResult(
        dataset=dataset,
        norm=norm,
        epsilon=epsilon,
        architecture=architecture,
        generator=generator,
        num_samples=num_samples if generator else 0,
        clean_accuracy=None if clean is None else _fraction(clean),
        robust_accuracy=_fraction(robust),
        aa_mt=None if aa_mt is None else _fraction(aa_mt),
        autoattack_stages=dict(zip(_AUTOATTACK, map(_fraction, stages), strict=False)),
        source=source,
    )


def _fraction(percent: float) -> float:
    return round(percent / 100, 6)


_CIFAR10_LINF = ("cifar10", "linf", "8/255")
_CIFAR10_L2 = ("cifar10", "l2", "128/255")
_CIFAR100_LINF = ("cifar100", "linf", "8/255")
_SVHN_LINF = ("svhn", "linf", "8/255")
_TINYIMAGENET_LINF = ("tinyimagenet", "linf", "8/255")
_WITHOUT_DATA = "section 6, no generated data"
_BOTH = "Tables 2 and 3"
# Section 6.2: its samples were restricted to the 200 classes.
_DDPM_OF_TINYIMAGENET = "a DDPM of ImageNet's images"

RESULTS: tuple[PaperResult, ...] = (
    _model(_CIFAR10_LINF, "resnet-18", None, None, 50.64, _WITHOUT_DATA),
    _model(_CIFAR10_LINF, "wrn-28-10", None, None, 54.44, "section 6, mean of ten runs, ±0.39"),
    _model(_CIFAR10_LINF, "wrn-70-16", None, 85.29, 57.14, "Table 2 (Gowal et al. 2020)"),
    _model(_CIFAR10_LINF, "wrn-28-10", "gaussian", None, 55.37, "section 3.2: +0.93 over 54.44%"),
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
        _TINYIMAGENET_LINF, "wrn-28-10", "ddpm", 60.95, 26.66, f"Table 2, {_DDPM_OF_TINYIMAGENET}"
    ),
)

QUALITY: dict[tuple[str, str], PaperQuality] = {
    ("cifar10", "gaussian"): PaperQuality(117.62, 3.64),
    ("cifar10", "vdvae"): PaperQuality(26.44, 6.88),
    ("cifar10", "biggan"): PaperQuality(13.78, 9.73),
    ("cifar10", "stylegan2"): PaperQuality(2.57, 10.07),
    ("cifar10", "ddpm"): PaperQuality(3.15, 9.50),
}


@dataclass(frozen=True)
class Statement:
    """One number that the paper states about a point or a line of a table or figure."""

    target: str
    measure: str
    value: float
    """A fraction, except for fid and inception_score."""
    source: str
    holds_for: dict[str, str] = field(default_factory=dict)
    """Settings or columns of the points that it is about; a value "" is one that is not set, and
    no entry at all stands for every point."""
    x: float | None = None
    """Where on the x axis; None: the paper does not say where, or no figure."""


def _about(
    target: str, measure: str, percents: dict[str, float], source: str, x: float | None = None
) -> list[Statement]:
    """Return one statement for each entry "key=value key=value: percent"; "" is every point."""
    return [
        Statement(
            target,
            measure,
            _fraction(percent),
            source,
            dict(condition.split("=") for condition in conditions.split()),
            x,
        )
        for conditions, percent in percents.items()
    ]


def _neighbours(
    target: str, point: str, source: str, measures: dict[str, float]
) -> list[Statement]:
    """Return what one row of Table 1 or 4 states; shares are given in percent."""
    key, value = point.split("=")
    return [
        Statement(
            target,
            measure,
            number if measure in ("fid", "inception_score") else _fraction(number),
            source,
            {key: value},
        )
        for measure, number in measures.items()
    ]


_TABLE_4: dict[str, tuple[float, ...]] = {
    "augmentation=mixup": (96.33, 0.17, 3.50, 98.34, 41.93, 9.33, 7.71),
    "kind=gaussian": (0.80, 0.72, 98.48, 15.80, 16.39, 3.64, 117.62),
    "kind=vdvae": (6.52, 5.71, 87.77, 23.20, 23.69, 6.88, 26.44),
    "kind=biggan": (11.69, 9.55, 78.76, 39.29, 38.89, 9.73, 13.78),
    "kind=ddpm": (31.20, 26.39, 42.41, 44.08, 43.80, 9.50, 3.15),
}
_OF_TABLE_4 = (
    "complementarity_train",
    "complementarity_test",
    "complementarity_self",
    "coverage_train",
    "coverage_test",
    "inception_score",
    "fid",
)
_INCEPTION_METRICS = {
    **{point: dict(zip(_OF_TABLE_4[5:], row[5:], strict=True)) for point, row in _TABLE_4.items()},
    "kind=stylegan2": {"inception_score": 10.07, "fid": 2.57},
}

# What the text states of its tables and figures. Tables 2 and 3 are in RESULTS; the body of
# Tables 1 and 5 and the curves are printed as images, which this project does not measure out.
STATEMENTS: tuple[Statement, ...] = (
    *(
        statement
        for point, metrics in _INCEPTION_METRICS.items()
        for statement in _neighbours("table1", point, "Table 4 and section 5", metrics)
    ),
    *(
        statement
        for point, row in _TABLE_4.items()
        for statement in _neighbours(
            "table4", point, "Table 4", dict(zip(_OF_TABLE_4, row, strict=True))
        )
    ),
    *_neighbours(
        "table5", "augmentation=mixup", "Table 4", _INCEPTION_METRICS["augmentation=mixup"]
    ),
    *_about("figure3a", "robust_accuracy", {"kind=gaussian": 55.37}, "section 3.2", 0.8),
    *_about("figure3a", "robust_accuracy", {"": 54.44}, "section 6", 1.0),
    *_about(
        "figure4a",
        "robust_accuracy",
        {"architecture=wrn-28-10": 58.15, "architecture=wrn-70-16": 59.83},
        "section 6.1",
        0.7447,
    ),
    *_about("figure5", "robust_accuracy", {"name=Gaussian": 55.37}, "section 3.2", 0.8),
    *_about(
        "figure5",
        "robust_accuracy",
        {"name=StyleGAN2": 58.17, "name=DDPM": 60.73},
        "section 6.2, at best",
    ),
    *_about("figure5", "robust_accuracy", {"": 54.44}, "section 6", 1.0),
    *_about(
        "figure10", "clean_accuracy", {"name=DDPM": 85.97}, "Table 2, where robust accuracy is best"
    ),
    *_about(
        "figure6",
        "robust_accuracy",
        {
            "kind=ddpm tested_on=": 58.43,
            "kind=biggan tested_on=": 43.34,
            "kind=ddpm tested_on=ddpm": 64.17,
            "kind=biggan tested_on=biggan": 94.95,
        },
        "appendix B",
        ONE_MILLION,
    ),
    *_about("figure7", "robust_accuracy", {"kind=ddpm": 31.23}, "Table 3, AA+MT, at best"),
    *_about("figure7", "robust_accuracy", {"": 28.75}, "appendix B: 2.48 below 31.23%", 1.0),
    *_about("figure8", "robust_accuracy", {"kind=ddpm": 60.90}, "Table 2, at best"),
    *_about("figure8", "robust_accuracy", {"": 56.83}, "Table 2", 1.0),
    *_about(
        "figure9",
        "robust_accuracy",
        {"kind=ddpm": 26.66},
        f"Table 2, at best, {_DDPM_OF_TINYIMAGENET}",
    ),
    *_about("figure9", "robust_accuracy", {"": 21.56}, "Table 2", 1.0),
)

# What the text states of a figure as a difference.
REMARKS: dict[str, str] = {
    "figure3a": "shares of 50 to 90% help, 80% most: +0.93 points (section 3.2)",
    "figure4c": "with all classes ResNet-18 and WRN-70-16 are 17.37 points apart (section 6.1)",
    "figure5": "at best +6.29 points with DDPM, +3.73 with StyleGAN2 (section 6.2)",
    "figure6": "from unseen samples to test images 5.74 points with DDPM, 51.61 with BigGAN "
    "(appendix B)",
    "figure7": "at best +2.48 points (appendix B)",
    "figure8": "at best +4.07 points (appendix B)",
    "figure9": f"at best +5.10 points (appendix B), with {_DDPM_OF_TINYIMAGENET}",
    "figure10": "at best +2.05 points with DDPM, +3.45 with StyleGAN2, +1.27 with BigGAN, none "
    "with VDVAE (appendix B)",
}


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
) -> PaperResult | None:
    """Return the paper's model of the same task, architecture and generated data, if any.

    Args:
        generator: kind of generative model; None where no generated image is used.
        num_samples: generated images; 0 where `generator` is None.
    """
    for result in results_on(dataset, norm, epsilon):
        if (result.architecture, result.generator, result.num_samples) == (
            architecture,
            generator,
            num_samples,
        ):
            return result
    return None

"""Settings of tables and figures over many experiments."""

from typing import Literal

from pydantic import Field

from pyrobust.config.base import Settings
from pyrobust.config.fields import Name, NonNegativeInt, Share


class MixtureSettings(Settings):
    """A mixture of the selected samples of two generators (section 6.1). A sweep refers to it in
    its column `generator`."""

    first: Name
    """First generator, a key of `generators`; it provides the rest of the mixture."""

    second: Name
    """Second generator, a key of `generators`."""

    share: Share
    """Fraction of the mixture that comes from the second generator."""

    second_selection: Name | None = None
    """Selection for the second generator, a key of `selections`. Default: that of the
    experiment."""

    classes: NonNegativeInt | None = None
    """Take only the first classes of the second generator, this many. Default: all."""


class TargetSettings(Settings):
    """A table or figure over the points of a sweep: results/paper/<key>.csv, .png and .svg."""

    title: str
    """Title of the table or figure, one sentence."""

    sweep: Name | None = None
    """Name of the sweep, config/sweeps/<sweep>.tsv. Default: the key of the target."""

    grid: dict[str, tuple[str | int | float | bool, ...]] = Field(default_factory=dict)
    """Points in place of a sweep: columns with their values, one point for each combination, such
    as `{experiment: [digits_linf], mixing_factor: [0.5, 0.8]}`."""

    show: Literal[
        "curves", "accuracies", "stages", "neighbours", "overfitting", "landscapes", "samples"
    ]
    """curves: accuracy over `x`, one line per series; accuracies: clean and robust accuracy, one
    row per point; stages: robust accuracy after each attack; neighbours: complementarity and
    coverage; overfitting: robust accuracy on training and validation images over the steps, which
    needs `gap_images`; landscapes: margins around test images; samples: images by class."""

    x: str = "mixing_factor"
    """Horizontal axis of curves: a column of the sweep, a numeric setting of the experiments such
    as `epsilon` or `training.trades_beta`, or labeller_accuracy."""

    series: tuple[str, ...] = ()
    """Columns or settings that distinguish the lines of curves."""

    y: Literal["robust_accuracy", "clean_accuracy"] = "robust_accuracy"
    """Vertical axis of curves."""

    logarithmic: bool = False
    """Use a logarithmic horizontal axis for curves."""

    trained: bool = True
    """Train a classifier at each point; not needed for a table of neighbours only."""

    paper: Name | None = None
    """Table or figure of the paper to compare with, such as figure5."""

    @property
    def needs_training(self) -> bool:
        """Whether the points are classifiers."""
        return self.trained and self.show != "samples"

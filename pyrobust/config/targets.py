"""Settings of tables and figures over many experiments."""

from typing import Literal

from pyrobust.config.base import Settings
from pyrobust.config.fields import Name, NonNegativeInt, Share


class MixtureSettings(Settings):
    """Selected samples of two generators made one set (section 6.1). A sweep names it in its
    column `generator`."""

    first: Name
    """A key of `generators`; it fills what the second one leaves."""

    second: Name
    """A key of `generators`."""

    share: Share
    """Share of the second generator's samples in the mixture."""

    second_selection: Name | None = None
    """A key of `selections` for the second generator; that of the experiment where not given."""

    classes: NonNegativeInt | None = None
    """Classes that are taken of the second generator, the first ones; all where not given."""


class TargetSettings(Settings):
    """A table or figure: results/paper/<key>.csv, .png and .svg, over the points of a sweep."""

    title: str
    """One sentence: what is shown."""

    sweep: Name | None = None
    """Name of config/sweeps/<sweep>.tsv, a table of points; the key of the target where not
    given."""

    show: Literal["curves", "accuracies", "stages", "neighbours", "landscapes", "samples"]
    """curves: an accuracy over `x`, a line for each series; accuracies: clean and robust, a row
    for each point; stages: what each attack leaves; neighbours: complementarity and coverage;
    landscapes: margins around test images; samples: images by class."""

    x: str = "mixing_factor"
    """For curves: a column of the sweep or a setting of the experiments that is a number at every
    point, such as `epsilon` or `training.trades_beta`, or labeller_accuracy."""

    series: tuple[str, ...] = ()
    """For curves: columns or settings that tell the lines apart."""

    y: Literal["robust_accuracy", "clean_accuracy"] = "robust_accuracy"
    """For curves: what is shown over `x`."""

    logarithmic: bool = False
    """For curves: whether `x` is drawn on a logarithmic axis."""

    trained: bool = True
    """Whether a classifier is trained at each point; a table of neighbours alone needs none."""

    paper: Name | None = None
    """Table or figure of the paper whose numbers stand beside ours, such as figure5."""

    @property
    def needs_training(self) -> bool:
        """Whether the points are classifiers."""
        return self.trained and self.show != "samples"

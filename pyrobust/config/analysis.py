"""Settings of the analysis of generated data: one model for each of its verbs."""

from typing import Literal

from pyrobust.config.base import Settings
from pyrobust.config.fields import NonNegativeInt, PositiveInt


class ExtractorSettings(Settings):
    """The extractor of features, and how they are stored (`pyrobust label --features`)."""

    extractor: Literal["labeller", "inception", "lpips"] = "labeller"
    """Feature space: the labeller's penultimate layer (no download), FID-Inception, or the
    perceptual metric LPIPS of VGG-16."""

    weights: str | None = None
    """File of the extractor's weights; inception and lpips need it (docs/analysis.md)."""

    linear_weights: str | None = None
    """File of the linear weights of lpips, vgg.pth of the `lpips` package."""

    dtype: Literal["float32", "float16"] = "float32"
    """Type that features are stored in; float16 halves the bytes and keeps three digits."""


class FeatureSettings(ExtractorSettings):
    """Which images are passed through which extractor (`pyrobust features`)."""

    num_images: PositiveInt = 50_000
    """Images drawn, with the class shares of the store; all where it has fewer."""

    seed: NonNegativeInt = 0
    """Seed of the draws of images."""


class NeighbourSettings(Settings):
    """Complementarity and coverage, Algorithm 1 (`pyrobust neighbours`)."""

    num_samples: PositiveInt = 10_000
    """Images taken from each of the training, test and generated sets (N of Algorithm 1); fewer
    where the smallest class of a set has fewer."""

    whole_sets: bool = False
    """Whether all images of the features are used in place of equal, class-balanced sets;
    complementarity is then not comparable with the paper's."""

    approximate: bool = False
    """Whether neighbours are looked for in the nearest clusters only, for sets whose pairs are too
    many; what that overlooks is measured and told."""

    probes: PositiveInt = 64
    """Clusters that an approximate search looks into."""

    components: PositiveInt = 100
    """PCA components, fitted on the original images (appendix D)."""

    seed: NonNegativeInt = 0
    """Seed of the draws of images."""


class QualitySettings(Settings):
    """FID, Inception score, precision, recall, density and coverage (`pyrobust quality`)."""

    splits: PositiveInt = 10
    """Parts that the Inception score is averaged over."""

    manifold_samples: PositiveInt = 10_000
    """Images of each set that precision, recall, density and coverage are computed from."""

    nearest_k: PositiveInt = 5
    """Neighbour that sets the radius of an image's ball in these four."""

    seed: NonNegativeInt = 0
    """Seed of the draws of images."""


class AnalysisSettings(FeatureSettings, NeighbourSettings, QualitySettings):
    """How generated images relate to the original ones: features, Algorithm 1, FID."""


# What each verb of the analysis takes from an entry of `analyses`.
ANALYSIS_VERBS: dict[str, type[Settings]] = {
    "label": ExtractorSettings,
    "features": FeatureSettings,
    "neighbours": NeighbourSettings,
    "quality": QualitySettings,
}

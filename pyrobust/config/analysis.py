"""Settings of the analysis of generated data: one model for each of its verbs."""

from typing import Annotated, Literal

from pydantic import Field

from pyrobust.config.base import Settings
from pyrobust.config.fields import NonNegativeInt, PositiveInt

# Memory of a search for nearest images, in units of 10⁹ bytes, where nothing else is said.
SEARCH_MEMORY_GB = 2.0
SearchMemory = Annotated[float, Field(ge=0.1, le=1000)]


class ExtractorSettings(Settings):
    """The feature extractor and the storage format of features (`pyrobust label --features`)."""

    extractor: Literal["labeller", "inception", "lpips"] = "labeller"
    """Feature space: the labeller's penultimate layer (no download), FID-Inception, or LPIPS
    (VGG-16)."""

    weights: str | None = None
    """File with the extractor's weights; required for inception and lpips (docs/analysis.md)."""

    linear_weights: str | None = None
    """File with the linear weights of lpips, vgg.pth of the `lpips` package; not needed where
    `weights` is the file that `pyrobust convert` wrote."""

    dtype: Literal["float32", "float16"] = "float32"
    """Storage type of the features; float16 halves the disk space and keeps about three digits."""


class FeatureSettings(ExtractorSettings):
    """The images that an extractor processes (`pyrobust features`)."""

    num_images: PositiveInt = 50_000
    """Number of images drawn, in the class proportions of the store; all images if it has fewer."""

    seed: NonNegativeInt = 0
    """Random seed of the sampled images."""


class NeighbourSettings(Settings):
    """Complementarity and coverage, Algorithm 1 (`pyrobust neighbours`)."""

    num_samples: PositiveInt = 10_000
    """Images drawn from each of the training, test and generated sets (N in Algorithm 1). Reduced
    if the smallest class of a set has too few images."""

    whole_sets: bool = False
    """Use all images instead of equally sized, class-balanced sets. Complementarity is then not
    comparable with the paper's."""

    approximate: bool = False
    """Search only the nearest clusters, for sets too large for an exact search. The result reports
    the estimated error."""

    probes: PositiveInt = 64
    """Number of clusters that an approximate search visits."""

    components: PositiveInt = 100
    """Number of PCA components, fitted on the original images (appendix D)."""

    seed: NonNegativeInt = 0
    """Random seed of the sampled images."""


class QualitySettings(Settings):
    """FID, Inception score, precision, recall, density and coverage (`pyrobust quality`)."""

    splits: PositiveInt = 10
    """Number of splits for the Inception score."""

    manifold_samples: PositiveInt = 10_000
    """Images per set for precision, recall, density and coverage."""

    nearest_k: PositiveInt = 5
    """Neighbour that defines the radius around each image for these four metrics."""

    seed: NonNegativeInt = 0
    """Random seed of the sampled images."""


class AnalysisSettings(FeatureSettings, NeighbourSettings, QualitySettings):
    """How generated images are compared with the original ones: features, Algorithm 1, FID."""


# What each verb of the analysis takes from an entry of `analyses`.
ANALYSIS_VERBS: dict[str, type[Settings]] = {
    "label": ExtractorSettings,
    "features": FeatureSettings,
    "neighbours": NeighbourSettings,
    "quality": QualitySettings,
}

"""Settings of the evaluation."""

from pyrobust.config.base import Settings
from pyrobust.config.fields import NonNegativeInt, PositiveInt


class EvaluationSettings(Settings):
    """The attacks of AA+MT (appendix A), in the paper's order, on the images still standing."""

    num_images: PositiveInt | None = None
    """Test images attacked, the first of the test split; all of them where not given."""

    apgd_ce_steps: PositiveInt = 100
    apgd_ce_restarts: PositiveInt = 5
    apgd_dlr_steps: PositiveInt = 100
    apgd_dlr_restarts: PositiveInt = 5
    multitargeted_steps: PositiveInt = 200
    multitargeted_restarts: PositiveInt = 10
    """Restarts of the multi-targeted attack, for each target unless shared."""

    multitargeted_share_restarts: bool = False
    """Whether restarts are dealt out over the targets instead of repeated for each."""

    multitargeted_targets: PositiveInt | None = None
    """Targets with the largest logits that are tried; all other classes where not given."""

    autoattack: bool = False
    """Whether AutoAttack (standard) runs as well; the result is then the worst of both."""

    batch_size: PositiveInt = 256
    seed: NonNegativeInt = 0

"""The compiled core: every inner step fused, the same on CPU and CUDA.

Each function is typed and documented in its module; the maths is defined once, in csrc/functors.
"""

from pyrobust.ops.apgd import ApgdState, apgd_step_, apgd_track_
from pyrobust.ops.averaging import averaging_ramp, ema_update_, sgd_ema_step_
from pyrobust.ops.core import CORE, CoreError
from pyrobust.ops.device import choose_device
from pyrobust.ops.l1 import l1_project_, l1_step_
from pyrobust.ops.loading import gather_augment
from pyrobust.ops.losses import (
    cross_entropy,
    dlr,
    margin,
    targeted_dlr,
    targeted_margin,
    trades_kl,
)
from pyrobust.ops.sampling import normal, random_signs, random_start, uniform
from pyrobust.ops.steps import (
    l2_adam_step_,
    l2_step_,
    linf_adam_step_,
    linf_step_,
)

__all__ = [
    "CORE",
    "ApgdState",
    "CoreError",
    "apgd_step_",
    "apgd_track_",
    "averaging_ramp",
    "choose_device",
    "cross_entropy",
    "dlr",
    "ema_update_",
    "gather_augment",
    "l1_project_",
    "l1_step_",
    "l2_adam_step_",
    "l2_step_",
    "linf_adam_step_",
    "linf_step_",
    "margin",
    "normal",
    "random_signs",
    "random_start",
    "sgd_ema_step_",
    "targeted_dlr",
    "targeted_margin",
    "trades_kl",
    "uniform",
]

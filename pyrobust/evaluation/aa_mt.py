"""AA+MT, the evaluation of the paper (appendix A)."""

from pyrobust.attacks import MultitargetedSettings, ThreatModel
from pyrobust.config.evaluation import EvaluationSettings
from pyrobust.evaluation.attack_stages import Cascade, apgd_stage, multitargeted_stage, stage_seed


def aa_mt(settings: EvaluationSettings, threat: ThreatModel, num_classes: int) -> Cascade:
    """Return APGD on cross-entropy, APGD on DLR and the multi-targeted attack, in this order."""
    return Cascade(
        "aa_mt",
        (
            apgd_stage(
                "apgd_ce",
                "cross_entropy",
                threat,
                num_classes,
                settings.apgd_ce_restarts,
                settings.apgd_ce_steps,
                stage_seed(settings.seed, 0),
            ),
            apgd_stage(
                "apgd_dlr",
                "dlr",
                threat,
                num_classes,
                settings.apgd_dlr_restarts,
                settings.apgd_dlr_steps,
                stage_seed(settings.seed, 1),
            ),
            multitargeted_stage(
                "multitargeted",
                MultitargetedSettings(
                    threat,
                    settings.multitargeted_steps,
                    settings.multitargeted_restarts,
                    settings.multitargeted_share_restarts,
                    settings.multitargeted_targets,
                ),
                num_classes,
                stage_seed(settings.seed, 2),
            ),
        ),
    )

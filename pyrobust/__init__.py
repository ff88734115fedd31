"""Robust image classifiers trained with generated data (Gowal et al. 2021).

The functions here are the Python interface; the command line offers the same.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyrobust.api.attacking import attack
    from pyrobust.api.autoattack import AutoAttack
    from pyrobust.api.certificates import CertificatesResult, certify
    from pyrobust.api.evaluation import EvaluationResult, evaluate
    from pyrobust.api.generated_data import (
        Complementarity,
        complementarity,
        fit_generator,
        sample,
    )
    from pyrobust.api.models import load
    from pyrobust.api.threats import ThreatsResult, threats
    from pyrobust.api.training import TrainedClassifier, train
    from pyrobust.api.verifying import verify
    from pyrobust.errors import UserError
    from pyrobust.evaluation.transcripts.transcript import TranscriptError
    from pyrobust.evaluation.transcripts.verification import Verification

try:
    __version__ = version("pyrobust")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "unknown"

# Imported on first use: torch takes seconds, and the command line answers --help without it.
_MODULES = {
    "AutoAttack": "pyrobust.api.autoattack",
    "CertificatesResult": "pyrobust.api.certificates",
    "Complementarity": "pyrobust.api.generated_data",
    "EvaluationResult": "pyrobust.api.evaluation",
    "TrainedClassifier": "pyrobust.api.training",
    "TranscriptError": "pyrobust.evaluation.transcripts.transcript",
    "ThreatsResult": "pyrobust.api.threats",
    "UserError": "pyrobust.errors",
    "Verification": "pyrobust.evaluation.transcripts.verification",
    "attack": "pyrobust.api.attacking",
    "certify": "pyrobust.api.certificates",
    "complementarity": "pyrobust.api.generated_data",
    "evaluate": "pyrobust.api.evaluation",
    "fit_generator": "pyrobust.api.generated_data",
    "load": "pyrobust.api.models",
    "sample": "pyrobust.api.generated_data",
    "train": "pyrobust.api.training",
    "verify": "pyrobust.api.verifying",
    "threats": "pyrobust.api.threats",
}

__all__ = [
    "AutoAttack",
    "CertificatesResult",
    "Complementarity",
    "EvaluationResult",
    "ThreatsResult",
    "TrainedClassifier",
    "TranscriptError",
    "UserError",
    "Verification",
    "attack",
    "certify",
    "complementarity",
    "evaluate",
    "fit_generator",
    "load",
    "sample",
    "threats",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'pyrobust' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

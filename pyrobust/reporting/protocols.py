"""What the paper states and what the authors' code does, choice by choice (Gowal et al. 2021).

The authors' code is github.com/google-deepmind/deepmind-research, adversarial_robustness/jax. The
two are kept apart: where the paper is silent, its column is empty, and a value of ours that agrees
with the code is not "the paper's".
"""

from dataclasses import dataclass
from typing import Any

ONE_MILLION = 1_000_000


@dataclass(frozen=True)
class Choice:
    """One setting of `pyrobust train`; None where a source does not say."""

    paper: Any
    authors: Any
    source: str


_A = "appendix A"
_CODE = "authors' code alone"

TRAINING: dict[str, Choice] = {
    "objective": Choice("trades", "trades", _A),
    "awp_gamma": Choice(0.0, 0.0, _A),
    "activation": Choice("silu", "silu", _A),
    "epochs": Choice(400.0, 400.0, f"{_A}; 2,000 for 100M samples in Table 2"),
    "epoch_size": Choice(50_000, 50_000, f"{_A}: CIFAR-10-equivalent epochs"),
    "batch_size": Choice(1024, 1024, _A),
    "learning_rate": Choice(0.1, 0.1, f"{_A}: 0.4 for batches of 1,024"),
    "schedule": Choice("cosine", "cosine", _A),
    "warmup": Choice(None, 0.025, _CODE),
    "momentum": Choice(None, 0.9, f"{_CODE}; {_A}: Nesterov"),
    "weight_decay": Choice(5e-4, 5e-4, _A),
    "averaging_decay": Choice(0.995, 0.995, _A),
    "averaging_start": Choice(None, 0.0, _CODE),
    "trades_beta": Choice(None, 6.0, _CODE),
    "label_smoothing": Choice(None, 0.1, _CODE),
    "label_smoothing_on": Choice(None, "generated", _CODE),
    "attack_optimizer": Choice("adam", "adam", _A),
    "attack_step_size": Choice("0.1", "0.1", f"{_A}; a tenth in the second half in the code alone"),
    "attack_steps": Choice(10, 10, _A),
    "batch_norm_updates": Choice(None, "adversarial", _CODE),
    "virtual_batch": Choice(None, 32, f"{_CODE}; {_A}: 1,024 images split over 32 cores"),
    "emulated_workers": Choice(None, 4, _CODE),
    "zero_logits": Choice(None, True, _CODE),
    "precision": Choice(None, "float32", _CODE),
}

# The generators of the paper (section 5).
GENERATORS = ("gaussian", "ddpm", "biggan", "vdvae", "stylegan2")

# Clean test accuracy of the labeller (appendix D).
LABELLER_ACCURACY = {"cifar10": 0.9568, "cifar100": 0.7998, "svhn": 0.9654}

# How the kept samples of each generator were chosen (appendix D): protocol, oversampling.
SELECTION: dict[str, tuple[str, int]] = {
    "gaussian": ("until_full", 1),
    "ddpm": ("until_full", 1),
    "biggan": ("top_k", 5),
    "vdvae": ("top_k", 5),
}

# Best shares of original images: stated for Gaussian samples only (section 3.2).
MIXING_FACTOR = {"gaussian": 0.8}
AUTHORS_MIXING_FACTOR = 0.3
EPOCHS_OF_100M = 2000.0
VALIDATION_IMAGES = 1024
NUM_RUNS = 2


def paper_epochs(num_samples: int) -> float:
    """Return the epochs of the paper's training with this number of generated images."""
    return EPOCHS_OF_100M if num_samples >= 100 * ONE_MILLION else float(TRAINING["epochs"].paper)

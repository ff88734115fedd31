"""Randomised smoothing (Cohen et al. 2019): certificates in l2 for any network."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta
from torch import Tensor

from pyrobust import ops
from pyrobust.attacks.network_passes import LogitsFn
from pyrobust.attacks.threat_model import NO_CLASS, predictions


@dataclass(frozen=True)
class Smoothing:
    """How a network is smoothed and its prediction estimated (Algorithm 1, CERTIFY).

    Args:
        deviation: of the Gaussian noise, for pixels in [0, 1].
        num_selection: noisy images by which the class is selected.
        num_samples: noisy images by which its probability is bounded.
        alpha: probability that the certificate of an image is wrong, at most.
    """

    deviation: float
    num_selection: int
    num_samples: int
    alpha: float


@dataclass(frozen=True)
class Smoothed:
    """Predictions of the smoothed network for N images.

    Attributes:
        prediction: (N,) int64, NO_CLASS where it abstains.
        radius: (N,) float64, l2 radius within which the prediction does not change; 0 where it
            abstains.
    """

    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]


def clopper_pearson(successes: NDArray[np.int64], trials: int, alpha: float) -> NDArray[np.float64]:
    """Return one-sided lower bounds of probabilities, each wrong with probability <= alpha.

    Args:
        successes: (N,), from 0 to `trials`.
    """
    none = successes == 0
    bound = beta.ppf(alpha, np.maximum(successes, 1), trials - successes + 1)
    return np.where(none, 0.0, bound)


def smoothed(
    logits_fn: LogitsFn, x: Tensor, sample_ids: Tensor, settings: Smoothing, seed: int
) -> Smoothed:
    """Return the predictions of the smoothed network with their certified radii.

    The smoothed network returns the class that `logits_fn` predicts most often for x plus noise.

    Args:
        x: (N, C, H, W) in [0, 1].
        sample_ids: (N,) int64; (seed, sample id, number) determine an image's noise.
    """
    first, then = settings.num_selection, settings.num_samples
    chosen = _votes(logits_fn, x, sample_ids, settings, seed, range(first)).argmax(1)
    votes = _votes(logits_fn, x, sample_ids, settings, seed, range(first, first + then))
    successes = votes.gather(1, chosen[:, None])[:, 0].cpu().numpy()
    lower = clopper_pearson(successes, then, settings.alpha)
    quantile = NormalDist().inv_cdf
    radius = np.array(
        [settings.deviation * quantile(min(p, 1 - 1e-16)) if p > 0.5 else 0.0 for p in lower]
    )
    return Smoothed(np.where(lower > 0.5, chosen.cpu().numpy(), NO_CLASS), radius)


def _votes(
    logits_fn: LogitsFn,
    x: Tensor,
    sample_ids: Tensor,
    settings: Smoothing,
    seed: int,
    numbers: range,
) -> Tensor:
    """Return how often each class was predicted, (N, K) int64; logits not finite count nowhere."""
    votes = None
    for number in numbers:
        noise = ops.normal(sample_ids, x.shape[1:], seed, number)
        with torch.no_grad():
            logits = logits_fn(x + settings.deviation * noise)
        found = predictions(logits)
        if votes is None:
            votes = torch.zeros(logits.shape, dtype=torch.int64, device=x.device)
        known = found != NO_CLASS
        votes[known, found[known]] += 1
    assert votes is not None, "no noisy image was asked for"
    return votes

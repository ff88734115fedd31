"""What the additions to an attack cost that docs/trust.md describes, for `evaluation.py`."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from pyrobust.attacks import SquareSettings, square
from pyrobust.certificates.certify import BoundMethod, certified_margins
from pyrobust.certificates.smoothing import Smoothing, smoothed
from pyrobust.config.certificates import CertifySettings
from pyrobust.config.evaluation import EvaluationSettings, ThreatSettings
from pyrobust.config.threats import Threat, ThreatsSettings
from pyrobust.evaluation.attack_stages import judge_and_search_passes
from pyrobust.evaluation.attack_suites import main_cascade
from pyrobust.evaluation.cascade import CascadeRun
from pyrobust.evaluation.certify import model_graph
from pyrobust.evaluation.checks import check_masking
from pyrobust.evaluation.confidence_sequence import anytime_interval
from pyrobust.evaluation.evaluate import evaluate
from pyrobust.evaluation.labelled_images import LabelledImages
from pyrobust.evaluation.logits_model import LogitsModel
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.evaluation.outcomes import UNBROKEN
from pyrobust.evaluation.self_test import find_planted
from pyrobust.evaluation.threats import evaluate_threats
from pyrobust.evaluation.transcripts.recording import Attacked, make_transcript
from pyrobust.evaluation.transcripts.transcript import Transcript
from pyrobust.evaluation.transcripts.verification import verify_transcript

CHECKED_IMAGES = 64  # as many as `pyrobust evaluate` takes at most
# Not full CROWN, which takes minutes for an image of such networks (docs/certificates.md).
BOUNDS: tuple[BoundMethod, ...] = ("ibp", "crown_ibp")


def timed(run: Callable[[], object]) -> dict[str, float]:
    """Return seconds on the wall and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - processor,
    }


class Additions:
    """Times the additions; results are multiples of the time of the attack itself.

    Args:
        network: in evaluation mode, on the device of `x`.
        x: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        attack: as in `pyrobust evaluate --attack`.
        clock: `seconds` or `cpu_seconds`.
    """

    def __init__(
        self,
        network: nn.Module,
        x: Tensor,
        labels: Tensor,
        num_classes: int,
        threat: ThreatSettings,
        attack: str,
        clock: str,
    ) -> None:
        self._x, self._labels, self._clock = x, labels, clock
        self._settings = EvaluationSettings(attack=attack)
        self._model = LogitsModel(network, "the network", x[:1], num_classes)
        pass_size = self._settings.pass_size
        self._passes, _ = judge_and_search_passes(self._model, "float32", pass_size, x[:pass_size])
        images = LabelledImages.of_tensors(x, labels, num_classes)
        identity = {"network": {"model": "the network"}}
        self._subject = Subject(self._model, num_classes, images, threat, str(x.device), identity)
        self._threat = self._subject.threat
        self._cascade = main_cascade(self._settings, self._threat, num_classes)
        self._attack_seconds = timed(self._attack)[clock]

    def _attack(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            passes, load = self._passes, self._subject.load
            run = CascadeRun(passes, passes, self._threat, load, Path(folder), True)
            self._outcome = run.attack(self._cascade, range(len(self._x)), lambda _: None)

    def of_evaluation(self) -> dict[str, float]:
        """Return the cost of each addition to an evaluation, and the bytes of a point.

        `evaluate` is the whole of `pyrobust evaluate` on images and a model in memory: the attack,
        the checks (`checks` and `self_test`, on up to 64 images) and files.
        """
        few, threat = slice(0, CHECKED_IMAGES), self._threat
        right = self._passes(self._x[few]).argmax(1) == self._labels[few]
        rows = torch.nonzero(right)[:, 0]
        x, labels = self._x[rows], self._labels[rows]
        lowest = square(self._passes, x, labels, rows, SquareSettings(threat, 200), 0)
        outcome = self._outcome
        attacked = Attacked(
            self._settings.attack,
            [stage.attack for stage in self._cascade.stages],
            np.arange(len(self._x)),
            outcome.clean_correct,
            outcome.broken_by != UNBROKEN,
            outcome.x_adv,
        )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            file = folder / "transcript.safetensors"
            costs = self._over_attack(
                {
                    "evaluate": lambda: evaluate(self._subject, folder / "all", self._settings),
                    "checks": lambda: check_masking(self._passes, x, labels, threat, 0),
                    "self_test": lambda: find_planted(
                        self._cascade, self._passes, self._passes, x, labels, lowest, threat
                    ),
                    "transcript": lambda: make_transcript(
                        self._subject, self._settings, attacked
                    ).write(file),
                    "verification": lambda: verify_transcript(Transcript.read(file), self._subject),
                    "intervals": lambda: [
                        anytime_interval(t // 2, t, 10_000) for t in range(0, 10_000, 100)
                    ],
                }
            )
            broken = max(int(attacked.broken.sum()), 1)
            return {**costs, "bytes_per_point": file.stat().st_size / broken}

    def of_threats(self, num_images: int) -> dict[str, float]:
        """Return the cost of an image under each threat, over that of an image in the attack."""

        def attack(threat: Threat) -> Callable[[], object]:
            settings = ThreatsSettings(
                threats=(threat,), attack=self._settings.attack, num_images=num_images
            )
            return lambda: evaluate_threats(self._subject, Path(folder) / threat, settings)

        with tempfile.TemporaryDirectory() as folder:
            works = {threat: attack(threat) for threat in get_args(Threat)}
            return self._over_attack(works, num_images)

    def of_certificates(self, num_images: int) -> dict[str, float]:
        """Return the cost of an image's certificate, over that of an image in the attack.

        Smoothing takes the default number of noisy images, 100 and 1,000.
        """
        x, labels = self._x[:num_images], self._labels[:num_images]
        graph, difference = model_graph(self._model, x)
        ids = torch.arange(len(x), device=x.device)
        how = CertifySettings()
        smoothing = Smoothing(how.deviation, how.selection_samples, how.samples, how.alpha)

        def bound(method: BoundMethod) -> Callable[[], object]:
            return lambda: certified_margins(graph, x, labels, self._threat, method, difference)

        works: dict[str, Callable[[], object]] = {method: bound(method) for method in BOUNDS}
        works["smoothing"] = lambda: smoothed(self._passes, x, ids, smoothing, 0)
        return self._over_attack(works, num_images)

    def _over_attack(
        self, works: dict[str, Callable[[], Any]], num_images: int | None = None
    ) -> dict[str, float]:
        scale = len(self._x) / (num_images or len(self._x))
        return {
            name: scale * timed(work)[self._clock] / self._attack_seconds
            for name, work in works.items()
        }

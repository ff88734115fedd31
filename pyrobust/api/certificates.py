"""`pyrobust.certify`: which images of a model no perturbation breaks."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pyrobust.api.images import Images, Labels, labelled_images
from pyrobust.api.models import Model, epsilon_of, model_source
from pyrobust.config import parse_settings
from pyrobust.config.certificates import CertifySettings, check_certificate
from pyrobust.config.evaluation import ThreatSettings
from pyrobust.evaluation import certify as certificates
from pyrobust.evaluation.describe_certificates import describe_certificates
from pyrobust.evaluation.model_under_test import Subject
from pyrobust.files import result_folder, write_text
from pyrobust.ops.device import choose_device


@dataclass(frozen=True, repr=False)
class CertificatesResult:
    """What certificates and attacks found.

    Attributes:
        summary: what `certificates.json` holds (docs/formats.md).
        rows: one row per image (docs/formats.md).
    """

    summary: Mapping[str, Any]
    rows: pa.Table

    @property
    def certified_accuracy(self) -> float:
        """Share of certified images in [0, 1]: a lower bound of robust accuracy."""
        return float(self.summary["certified"]["share"])

    @property
    def attacked_accuracy(self) -> float:
        """Share of images that are not broken in [0, 1]: an upper bound of robust accuracy."""
        return 1 - float(self.summary["broken"]["share"])

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the result as one HTML page that needs no other file, and return its path."""
        from pyrobust.reporting.certificates_page import certificates_page

        write_text(Path(path), certificates_page(self.summary))
        return Path(path)

    def __repr__(self) -> str:
        """Return the share of images of each status, a line each."""
        return "\n".join(describe_certificates(self.summary))


def certify(
    model: Model,
    images: Images,
    labels: Labels = None,
    *,
    norm: str,
    epsilon: str | float,
    weights: str | Path | None = None,
    mean: float | Sequence[float] = (),
    std: float | Sequence[float] = (),
    device: str = "auto",
    output: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> CertificatesResult:
    """Certify and attack images: each is certified, undecided or broken.

    Args:
        model: see `pyrobust.load`. Except for smoothing, it consists of convolutions, linear
            layers, batch norm, average pooling, ReLU, SiLU and sums.
        images, labels: see `pyrobust.evaluate`.
        norm: linf, l2 or l1; smoothing is for l2.
        epsilon: radius for pixels in [0, 1], such as "8/255" or 0.5.
        weights, mean, std: see `pyrobust.load`.
        output: folder for the result and for the state that a killed call resumes from.
        settings: fields of `CertifySettings` (docs/certificates.md), such as `method="ibp"`.

    Raises:
        UserError: names the argument, its value and what to change.
    """
    threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon_of(epsilon)})
    parsed = parse_settings(CertifySettings, settings)
    check_certificate(parsed, threat.norm)
    subject = Subject.open(
        model_source(model, weights, mean, std),
        labelled_images(images, labels, parsed.num_images),
        threat,
        str(choose_device(device)),
    )
    with result_folder(output) as folder:
        summary = certificates.certify(subject, folder, parsed)
        return CertificatesResult(summary, pq.read_table(folder / certificates.ROWS))

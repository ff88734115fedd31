"""The verb that bounds robust accuracy from below: `certify`."""

from pathlib import Path
from typing import Annotated

import typer

from pyrobust.cli.holding import uses_gpu, writes_folder
from pyrobust.cli.options import Numbers, stage_folder, takes_settings
from pyrobust.cli.subjects import (
    EpsilonOption,
    Images,
    Model,
    NormOption,
    OptionalDataset,
    Split,
    Weights,
    model_source,
    open_subject,
    opened_images,
)
from pyrobust.config import parse_settings
from pyrobust.config.certificates import CertifySettings, check_certificate
from pyrobust.config.evaluation import ThreatSettings


@takes_settings(CertifySettings)
@writes_folder
@uses_gpu
def certify(
    model: Model,
    norm: NormOption,
    epsilon: EpsilonOption,
    output: Annotated[Path, stage_folder("Folder to write.", "certificates.json")],
    settings: CertifySettings,
    dataset: OptionalDataset = None,
    images: Images = None,
    split: Annotated[Split, typer.Option(help="Images that are certified.")] = "test",
    weights: Weights = None,
    mean: Numbers = None,
    std: Numbers = None,
) -> None:
    """Prove which images no perturbation breaks, and attack all.

    Each image is then certified, broken or undecided.
    """
    threat = parse_settings(ThreatSettings, {"norm": norm, "epsilon": epsilon})
    check_certificate(settings, norm)

    from pyrobust.evaluation import certify as certificates
    from pyrobust.evaluation.describe_certificates import describe_certificates
    from pyrobust.files import write_text
    from pyrobust.reporting.certificates_page import certificates_page

    store = output / certificates.STATE / "images"
    with opened_images(dataset, images, split, None, store) as found:
        subject = open_subject(model_source(model, weights, mean, std), found, threat)
        result = certificates.certify(subject, output, settings)
    write_text(output / "certificates.html", certificates_page(result))
    for line in describe_certificates(result):
        print(line)

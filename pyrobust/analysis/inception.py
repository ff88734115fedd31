"""FID-Inception: the network whose features published FIDs are computed from, and its weights.

python -m pyrobust.analysis.inception FILE downloads the weights.
"""

import io
import sys
from pathlib import Path

import torch
from torch import Tensor

from pyrobust.downloading import fetch
from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.models.extraction import Compute, Extractor, as_rgb, named_file

# The weights of 2015-12-05, as torch-fidelity and pytorch-fid distribute them.
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)

_BATCH = 64


def inception_extractor(weights: str | None, device: torch.device) -> Extractor:
    """Return FID-Inception with the weights of a file.

    Raises:
        UserError: the file is missing or another one.
    """
    path = named_file("inception", "--weights", weights, f"download {URL}")
    found = sha256_of(path)
    if found != SHA256:
        raise UserError(
            f"{path} has SHA-256 {found}, but {SHA256} is expected; download it again from {URL}"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    return Extractor("inception", SHA256, _BATCH, device, inception_compute(state, device))


def inception_compute(state: dict[str, Tensor], device: torch.device) -> Compute:
    """Return FID-Inception with the given weights: 2,048 features and unbiased logits.

    Images are resized as in TensorFlow 1, which published FIDs use.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # The class loads its file with a full unpickler, so it gets a copy written here.
    copy = io.BytesIO()
    torch.save(state, copy)
    copy.seek(0)
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=copy
    ).to(device)

    def compute(images: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = network(as_rgb(images))
        return features, logits

    return compute


def main(path: Path) -> int:
    """Download the weights to `path`; return the exit status."""
    try:
        fetch(URL, path, SHA256)
    except UserError as error:
        print(f"pyrobust: {error}", file=sys.stderr)
        return 2
    print(f"{path} has the SHA-256 {SHA256}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

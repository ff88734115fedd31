"""The 1,797 handwritten digits inside scikit-learn: 8×8, grey, nothing to download."""

from pathlib import Path

import numpy as np

from pyrobust.data.class_names import KNOWN
from pyrobust.data.raw import RawDataset, array_split
from pyrobust.files import sha256_of


def read_digits(folder: Path, name: str) -> RawDataset:
    """Return the digits; the 17 shades 0..16 become round(shade · 255 / 16)."""
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    file = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"
    train = array_split(images, digits.target, "scikit-learn's digits")
    return RawDataset(KNOWN["digits"], train, None, {file.name: sha256_of(file)})

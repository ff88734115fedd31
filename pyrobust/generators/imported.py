"""Published samples instead of a generator: image i is row i of a store."""

import shutil
from pathlib import Path
from typing import Self

import numpy as np

from pyrobust.config.generators import GeneratorSettings
from pyrobust.data.importing import import_npz
from pyrobust.data.npz import NPZ
from pyrobust.data.raw_files import data_files
from pyrobust.data.store import SampleStore
from pyrobust.errors import UserError
from pyrobust.files import sha256_of
from pyrobust.generators.base import MADE_BY, Fit, Generator, GeneratorSpec, Samples

STORE = "samples"


class ImportedGenerator(Generator):
    """The images of `.npz` files, shuffled over classes; their labels are the conditions.

    The seed determines the shuffling; `sample` does not use it.
    """

    block_size = 1000

    def __init__(self, spec: GeneratorSpec, store: SampleStore, sha256: str | None = None) -> None:
        super().__init__(spec, sha256)
        self.count = store.count
        self._store = store
        self._labels = store.labels(np.uint16)

    @classmethod
    def fit(cls, fit: Fit) -> Self:
        """Import the files of `settings.path`.

        Raises:
            UserError: there are no files, or one is damaged or does not fit the data set.
        """
        spec = fit.spec
        files = _files(spec.settings)
        store = import_npz(
            files,
            spec.image_shape,
            spec.class_names,
            fit.state / STORE,
            spec.settings.seed,
            MADE_BY,
        )
        return cls(spec, store)

    def is_up_to_date(self) -> bool:
        """Return whether the files still have the hashes of the imported ones."""
        files = {file.name: sha256_of(file) for file in _files(self.spec.settings)}
        return bool(self._store.provenance["files"] == files)

    def sample(self, ids: np.ndarray, seed: int) -> Samples:
        """Return these rows of the store."""
        return Samples(self._store.gather(ids), self._labels[ids].astype(np.int64))

    def write_weights(self, folder: Path) -> str:
        """Move the store into the folder; the hash of its manifest covers all files."""
        shutil.rmtree(folder / STORE, ignore_errors=True)
        self._store.path.replace(folder / STORE)
        self._store = SampleStore.open(folder / STORE)
        return self._store.sha256

    @classmethod
    def read_weights(cls, folder: Path, spec: GeneratorSpec, sha256: str) -> Self:
        """Open the store."""
        store = SampleStore.open(folder / STORE)
        if store.sha256 != sha256:
            raise UserError(
                f"{store.path} is not the store that was imported; run '{MADE_BY}' again"
            )
        return cls(spec, store, sha256)


def _files(settings: GeneratorSettings) -> list[Path]:
    """Return the file `path`, or all .npz files in this folder.

    Raises:
        UserError: there are none, one is not an .npz file, or two have the same name.
    """
    path = Path(settings.path or "")
    files = [path] if path.suffix == ".npz" and path.is_file() else data_files(path, {".npz"}, NPZ)
    if not files:
        raise UserError(f"no .npz file in {path}; put the published samples there")
    names = [file.name for file in files]
    for file in files:
        if names.count(file.name) > 1:
            raise UserError(f"{path} contains several files named {file.name}; rename one")
    return files

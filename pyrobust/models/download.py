"""Download of a published checkpoint, with its hash pinned."""

import http.client
import shutil
import urllib.request
from pathlib import Path

from pyrobust.errors import UserError
from pyrobust.files import atomic_path, sha256_of, write_text
from pyrobust.models.registry import PublishedModel

_SECONDS = 60


def download(model: PublishedModel, folder: Path) -> Path:
    """Return the checkpoint of `model` in `folder`, downloaded where it is not there.

    The hash is compared with the registry's. Where the registry knows none, the first download
    writes it to `<name>.pt.sha256` beside, and every later use must agree with that file.

    Raises:
        UserError: the address cannot be reached, or the hash is another one.
    """
    path = folder / f"{model.name}.pt"
    pinned = path.with_name(f"{path.name}.sha256")
    if not path.is_file():
        _fetch(model, path)
    seen = sha256_of(path)
    expected = model.sha256 or (pinned.read_text().strip() if pinned.is_file() else None)
    if expected is None:
        write_text(pinned, f"{seen}\n")
    elif seen != expected:
        raise UserError(
            f"{path} has SHA-256 {seen}, expected {expected}: remove it and run the command again"
        )
    return path


def _fetch(model: PublishedModel, path: Path) -> None:
    try:
        with (
            urllib.request.urlopen(model.url, timeout=_SECONDS) as response,
            atomic_path(path) as temporary,
        ):
            with temporary.open("wb") as file:
                shutil.copyfileobj(response, file)
            # A link that went dead often answers with a web page and status 200.
            with temporary.open("rb") as file:
                if file.read(1) == b"<":
                    raise UserError(f"{model.url} answered with a web page, not a checkpoint")
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"{model.url} cannot be downloaded ({error}): put the file at {path} by hand"
        ) from error

"""Download a published file, whole or not at all."""

import http.client
import shutil
import urllib.request
from pathlib import Path

from pyrobust.errors import UserError
from pyrobust.files import atomic_path, sha256_of

_SECONDS = 60


def fetch(url: str, path: Path, sha256: str | None = None) -> None:
    """Download `url` to `path`.

    Args:
        sha256: of the file; None if it is not known.

    Raises:
        UserError: the address cannot be reached, or returns something else; `path` is not written.
    """
    try:
        with (
            urllib.request.urlopen(url, timeout=_SECONDS) as response,
            atomic_path(path) as temporary,
        ):
            with temporary.open("wb") as file:
                shutil.copyfileobj(response, file)
                length = response.headers.get("Content-Length")
                if length is not None and file.tell() != int(length):
                    raise UserError(
                        f"{url} was cut off after {file.tell():,} of {int(length):,} bytes; run "
                        "the command again"
                    )
            # A dead link often returns a web page with status 200.
            with temporary.open("rb") as file:
                if file.read(1) == b"<":
                    raise UserError(f"{url} returned a web page instead of a file")
            if sha256 is not None and (found := sha256_of(temporary)) != sha256:
                raise UserError(
                    f"{url} has SHA-256 {found}, but {sha256} is expected; download the file from "
                    f"another source and save it as {path}"
                )
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"{url} cannot be downloaded ({error}); download it yourself and save it as {path}"
        ) from error

"""Files that are whole or absent: atomic writing, JSON with one spelling, hashes."""

import errno
import fcntl
import hashlib
import itertools
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, TextIO

from pyrobust.errors import BusyError, UserError

logger = logging.getLogger(__name__)

_BLOCK = 1 << 20
_LOCK = ".lock"
# How often a folder that vanishes is made; where none can be made, as in /proc, it always does.
_ATTEMPTS = 100


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` if the block ends well.

    The data are flushed to the disk before the rename, so a kill or a power cut leaves either
    the old file, or the new one, never a part of it. The temporary name ends as `path` does,
    for writers that look at the suffix.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        # NumPy gives no error number, only how many of its numbers were written.
        full = error.errno in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = f"the disk is full, or files have a limit ({error})" if full else error
        raise UserError(f"cannot write {path}: {reason}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone; wait while another process works there.

    A killed workflow leaves its last job running; the same job, started again, must not write
    beside it. The lock is the kernel's and ends with the process that holds it. A block that
    fails before it wrote anything leaves no folder behind that was not there before.

    Raises:
        BusyError: in a job of a cluster, another process works there.
        UserError: the folder cannot be written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with _locked(folder, fcntl.LOCK_EX):
        try:
            yield
        except BaseException:
            if made and [path.name for path in folder.iterdir()] == [_LOCK]:
                (folder / _LOCK).unlink()
                with suppress(OSError):  # another job put something next to it
                    for path in made:
                        path.rmdir()
            raise


@contextmanager
def result_folder(output: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Hold the folder of a result for this process alone; a temporary one without `output`."""
    here = TemporaryDirectory() if output is None else nullcontext(output)
    with here as folder, exclusive(Path(folder)):
        yield Path(folder)


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Work in `folder` with others that share it, but not with one that is `exclusive`.

    Raises:
        UserError: the folder cannot be written.
    """
    with _locked(folder, fcntl.LOCK_SH):
        yield


def _locked(folder: Path, kind: int) -> TextIO:
    """Return the locked file of `folder`; closing it sets the folder free.

    Args:
        kind: LOCK_EX or LOCK_SH.
    """
    for attempt in itertools.count():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Network file systems lock for sharing only what is open for reading, too.
            lock = (folder / _LOCK).open("a+")
        except OSError as error:
            if isinstance(error, FileNotFoundError) and attempt < _ATTEMPTS:
                continue  # removed by a process that failed, just now
            raise UserError(f"cannot write {folder}: {error}") from error
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if "SLURM_JOB_ID" in os.environ:  # waiting would hold its GPU
                lock.close()
                raise BusyError(
                    f"another job works in {folder}: 'squeue --me' lists it, and the same command "
                    "resumes once it has ended"
                ) from None
            logger.warning("waiting for another process that works in %s", folder)
            fcntl.flock(lock, kind)
        except OSError as error:
            # Lustre without `-o flock`, for example.
            logger.warning(
                "%s cannot be locked (%s): make sure that no other job works there",
                folder,
                error.strerror,
            )
            return lock
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), (folder / _LOCK).stat()):
                return lock
        lock.close()
    raise AssertionError("unreachable")


def _sync_folder(folder: Path) -> None:
    """Flush the rename itself, which lives in the folder and not in the file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically; equal values give equal bytes (sorted keys, no NaN)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


class _Object(dict[str, Any]):
    """An object of a JSON file, which names the file where a key is missing."""

    def __init__(self, pairs: list[tuple[str, Any]], path: Path, made_by: str) -> None:
        super().__init__(pairs)
        self._file = path, made_by

    def __missing__(self, key: str) -> Any:
        path, made_by = self._file
        raise UserError(
            f"{path} is damaged (it lacks '{key}'): delete it and run '{made_by}' again"
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def read_json(path: Path, made_by: str) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Looking up a key that the object, or one inside it, lacks raises a UserError, too.

    NaN and Infinity, which Python would read, are not JSON: comparisons with them choose nothing.

    Args:
        made_by: the command that writes such a file; it is named where the file is missing.

    Raises:
        UserError: the file is missing, is not JSON, or holds something else than an object.
    """
    try:
        value = json.loads(
            path.read_text(encoding="utf-8"),
            object_pairs_hook=lambda pairs: _Object(pairs, path, made_by),
            parse_constant=_refuse_constant,
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path} is missing: '{made_by}' writes it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not JSON ({error}): delete it and run '{made_by}' again"
        ) from error
    if not isinstance(value, _Object):
        raise UserError(
            f"{path} is damaged (it holds a {type(value).__name__}, expected an object): delete it "
            f"and run '{made_by}' again"
        )
    return value


@contextmanager
def described_by(index: Path, made_by: str) -> Iterator[None]:
    """Refuse an index whose values are missing or of another type, as far as the block reads it.

    Raises:
        UserError: names the index and the command that writes it.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise UserError(
            f"{index} is damaged ({error!r}): delete it and run '{made_by}' again"
        ) from error


# Errors that a later attempt may not meet, and that say nothing about the file.
_OF_THE_SYSTEM = {errno.EACCES, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE}


@contextmanager
def computed_again_if_damaged(path: Path) -> Iterator[None]:
    """Read a saved state in the block; if it is damaged, end the block with a warning.

    What follows the block then computes it again, with the same result.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged file makes its reader raise
        if isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM:
            raise
        reason = str(error).strip() or type(error).__name__
        logger.warning("warning: %s is damaged (%s) and is computed again", path, reason)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()

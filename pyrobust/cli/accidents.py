"""What the machine refuses, in one sentence: memory, and files by a full or guarded disk."""

import errno

# How torch, cuBLAS, faiss and C++ say that there is no memory, beside Python's MemoryError.
_NO_MEMORY = ("out of memory", "allocate memory", "bad_alloc", "ALLOC_FAILED")

_NO_FILE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
}


def told(error: Exception) -> str | None:
    """Return the sentence for an error that more memory or another disk mends; else None."""
    if isinstance(error, OSError) and error.errno in _NO_FILE:
        return f"the system refuses a file: {error}; mend that, and the same command goes on"
    text = str(error)
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        reason = text.splitlines()[0] if text else "no reason given"
        return (
            f"out of memory ({reason}): run the same command where more is free, on a cluster by "
            "a higher mem_mb, and it goes on from what it saved"
        )
    return None

"""Exceptions whose message is meant for the user, and exit statuses."""

# How torch, cuBLAS, faiss and C++ report a lack of memory, besides Python's MemoryError.
_NO_MEMORY = ("out of memory", "allocate memory", "bad_alloc", "ALLOC_FAILED")

# EX_TEMPFAIL of sysexits.h: nothing is wrong, try again.
EXIT_RESUMABLE = 75


class UserError(Exception):
    """A mistake that the user can mend.

    The message is one sentence that names the value, what was expected and, where there is one,
    the command that mends it. The command line prints it and exits with status 2; nothing has
    been written by then.
    """


class OwnCodeError(UserError):
    """Code of the user's own failed with the error that is the cause of this one."""


class Stopped(BaseException):
    """SIGTERM came; code of the user's that is caught with all its errors cannot swallow this."""


class BusyError(UserError):
    """Another job works in the same folder; the same command succeeds later (exit status 75)."""


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class without one."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def lacks_memory(error: BaseException) -> bool:
    """Whether more memory mends an error."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY)

"""Products of matrices whose bits do not depend on the number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's matrix routines run on one thread for the block.

    With more they sum in another order, and a result would depend, in its last digits, on the
    cores that a job was given. Other threads, such as those of FAISS, are for outside the block.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield

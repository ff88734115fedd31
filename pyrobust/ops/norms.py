"""The norms that share an operator; l1 has separate operators."""


def is_l2(norm: str) -> bool:
    """Return whether `norm` is l2.

    Raises:
        ValueError: it is neither linf nor l2.
    """
    if norm not in ("linf", "l2"):
        raise ValueError(f"norm is {norm!r}, expected linf or l2")
    return norm == "l2"

"""Experiment trackers by name, as a caller gives them."""

import os
from collections.abc import Sequence

from pyrobust.errors import UserError
from pyrobust.trackers import TrackerName, parse_trackers


def trackers_of(
    trackers: str | Sequence[str], output: str | os.PathLike[str] | None
) -> tuple[TrackerName, ...]:
    """Return the trackers of a call.

    Raises:
        UserError: one is unknown, or there is no folder for what they write.
    """
    names = parse_trackers(trackers if isinstance(trackers, str) else ",".join(trackers))
    if names and output is None:
        raise UserError("trackers write into the folder of the result: give output")
    return names

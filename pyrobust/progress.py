"""Progress of long work: a bar on a terminal or in a notebook, plain lines in a log."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Protocol

logger = logging.getLogger(__name__)


class Advance(Protocol):
    """Counts units that were just finished; `note` is shown with them until the next one."""

    def __call__(self, units: int, note: str = "") -> None: ...  # noqa: D102


# Seconds between two lines in a log: rare enough to read, often enough to see that it lives.
_LOG_INTERVAL = 10.0
# Seconds until a notebook shows a bar, and between two pictures of it.
_CELL_INTERVAL = 1.0


@contextmanager
def counting(total: int, description: str, unit: str, done: int = 0) -> Iterator[Advance]:
    """Yield a function to call with the number of units that were just finished.

    Args:
        total: units in all.
        unit: what is counted, in the plural, such as "images".
        done: units that an earlier run finished; they do not count for the rate.
    """
    shown = _bar if sys.stderr.isatty() else _cell if _in_notebook() else _lines
    with shown(total, description, unit, done) as advance:
        yield advance


@contextmanager
def _bar(total: int, description: str, unit: str, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    started = time.monotonic()
    count = done
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}"),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task(
            description, total=total, completed=done, unit=unit, speed="", note=""
        )

        def advance(units: int, note: str = "") -> None:
            nonlocal count
            count += units
            # rich's own estimate gives up where units come half a minute apart.
            speed = _speed(count - done, total - count, time.monotonic() - started)
            progress.update(task, completed=count, speed=speed, note=note)

        yield advance


def _in_notebook() -> bool:
    """Return whether this process shows what it displays in a notebook."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def _cell(total: int, description: str, unit: str, done: int) -> Iterator[Advance]:
    from IPython.display import HTML, display

    line = _Line(total, description, unit, done)

    def bar() -> object:
        picture = f'<progress max="{total}" value="{line.count}"></progress>'
        return HTML(f"{picture} {escape(line.text())}")

    handle = None

    def advance(units: int, note: str = "") -> None:
        nonlocal handle
        if not line.advance(units, note, _CELL_INTERVAL):
            return
        if handle is None:
            handle = display(bar(), display_id=True)
        else:
            handle.update(bar())

    yield advance
    line.note = ""
    if handle is not None:
        handle.update(bar())


@contextmanager
def _lines(total: int, description: str, unit: str, done: int) -> Iterator[Advance]:
    line = _Line(total, description, unit, done)

    def advance(units: int, note: str = "") -> None:
        if line.advance(units, note, _LOG_INTERVAL):
            logger.info(line.text())

    yield advance
    line.note = ""
    logger.info(line.text())


class _Line:
    """A count in words, with its rate and the time left."""

    def __init__(self, total: int, description: str, unit: str, done: int) -> None:
        self._total, self._description, self._unit, self._done = total, description, unit, done
        self._started = self._shown = time.monotonic()
        self.count = done
        self.note = ""

    def advance(self, units: int, note: str, interval: float) -> bool:
        """Count units; return whether the line was last due `interval` seconds ago."""
        self.count += units
        self.note = note
        due = time.monotonic() - self._shown >= interval
        if due:
            self._shown = time.monotonic()
        return due

    def text(self) -> str:
        seconds = time.monotonic() - self._started
        speed = _speed(self.count - self._done, self._total - self.count, seconds)
        of_total = f"/{self._total:,}" if self._total else ""
        said = f"{self._description}: {self.count:,}{of_total} {self._unit}, {speed}"
        return f"{said}; {self.note}" if self.note else said


def _speed(units: int, left: int, seconds: float) -> str:
    """Return the rate of `units` in `seconds`, and the time that `left` more will take."""
    rate = units / seconds if seconds > 0 else 0.0
    remaining = f", {duration(left / rate)} left" if rate and left > 0 else ""
    return f"{rate:,.1f}/s{remaining}"


def duration(seconds: float) -> str:
    """Return "2:05:09" for 7509 seconds and "5:09" for 309."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

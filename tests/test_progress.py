"""Progress in a log."""

import logging
import sys
from types import SimpleNamespace

import pytest

from pyrobust import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""

    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_log_gets_a_line_now_and_then_with_rate_and_time_left(caplog, clock):
    caplog.set_level(logging.INFO)
    with progress.counting(1000, "sample", "images", done=400) as advance:
        for _ in range(4):
            clock.now += 6
            advance(60)
    assert caplog.messages == [
        "sample: 520/1,000 images, 10.0/s, 0:48 left",
        "sample: 640/1,000 images, 10.0/s, 0:36 left",
        "sample: 640/1,000 images, 10.0/s, 0:36 left",
    ]


def test_a_terminal_gets_a_bar_with_rate_time_left_and_note(monkeypatch, capsys, clock):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with progress.counting(1000, "train", "images", done=400) as advance:
        clock.now += 45  # rarer than rich's own estimate allows
        advance(90, "loss 1.234")
    shown = capsys.readouterr().err
    for words in ("train", "490/1,000 images", "2.0/s", "4:15 left", "loss 1.234"):
        assert words in shown, shown


def test_a_notebook_gets_one_bar_that_moves(monkeypatch, clock):
    shown = []

    class Handle:
        def update(self, bar):
            shown.append(bar.data)

    def display(bar, display_id):
        assert display_id
        shown.append(bar.data)
        return Handle()

    html = lambda data: SimpleNamespace(data=data)  # noqa: E731
    shell = SimpleNamespace(kernel=object())
    interactive = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", interactive)
    pictures = SimpleNamespace(HTML=html, display=display)
    monkeypatch.setitem(sys.modules, "IPython.display", pictures)
    with progress.counting(1000, "train <net>", "images") as advance:
        clock.now += 1
        advance(100, "loss 1.234")
        advance(100)  # too soon for another picture
    assert len(shown) == 2
    assert '<progress max="1000" value="100">' in shown[0]
    assert "train &lt;net&gt;: 100/1,000 images, 100.0/s, 0:09 left; loss 1.234" in shown[0]
    assert "200/1,000 images" in shown[1]
    with progress.counting(10, "quick", "images") as advance:
        advance(10)
    assert len(shown) == 2


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (309, "5:09"), (7509, "2:05:09")])
def test_durations_are_written_as_on_a_clock(seconds, text):
    assert progress.duration(seconds) == text

"""Values in the words of a page."""

import pytest

from pyrobust.reporting.wording import setting


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "all"),
        (True, "yes"),
        (False, "no"),
        ([], "none"),
        (["4/255", "16/255"], "4/255, 16/255"),
        (0.25, "0.25"),
        ("8/255", "8/255"),
    ],
)
def test_settings_are_no_python_values(value: object, words: str) -> None:
    assert setting(value) == words

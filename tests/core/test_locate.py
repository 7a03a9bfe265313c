"""A question about where something is in code is answered with its lines."""

from __future__ import annotations

import pytest

from lindoc.core.tasks.locate import ASKS_WHERE, telling_line

CODE = '''class GaveUp(Exception):
    """No attempt succeeded."""

def call_with_retry(action, waits):
    for wait in waits:
        time.sleep(wait)
'''


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ("where are retries handled?", "def call_with_retry(action, waits):"),
        ("Where is the error for giving up defined?", "class GaveUp(Exception):"),
        ("which line sleeps?", "time.sleep(wait)"),
    ],
)
def test_the_telling_line_is_quoted(question: str, line: str) -> None:
    start, end = telling_line(CODE, question)
    assert CODE[start:end] == line


def test_only_questions_for_a_place_are_located() -> None:
    assert ASKS_WHERE.match("Where are retries handled?")
    assert ASKS_WHERE.match("in which function is the delay computed?")
    assert not ASKS_WHERE.match("How long is the delay?")
    assert not ASKS_WHERE.match("whereas the parties agree")

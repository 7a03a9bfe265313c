"""A question about where something is in code is answered with its lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from lindoc.core.formats import find_sources
from lindoc.core.pipeline import Library
from lindoc.core.store import Store
from lindoc.core.tasks.locate import ASKS_WHERE, telling_line
from lindoc.models.registry import load_encoder

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


def test_the_code_comes_before_its_tests_and_prose_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "delivery.py").write_text(CODE)
    (tmp_path / "tests/test_delivery.py").write_text(
        "def test_retries_end():\n    with pytest.raises(GaveUp):\n        call_with_retry(fail, waits=[1, 2])\n"
    )
    (tmp_path / "notes.md").write_text("Retries are a nuisance. We talked about them for a while on Monday.\n")
    encoder = load_encoder("lindoc-small", "cpu")
    with Store.open(None, encoder=encoder) as store:
        library = Library(encoder, store)
        library.read(find_sources([str(tmp_path)]))
        answer = library.ask("Where are retries handled?")
        assert Path(answer.evidence[0].locator.document).name == "delivery.py"
        asked = library.ask("Where is the test that retries end?")
        assert Path(asked.evidence[0].locator.document).name == "test_delivery.py"

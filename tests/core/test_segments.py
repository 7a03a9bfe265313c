"""Laws 1 and 2: nothing is lost, and the text alone decides where it is cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lindoc.core.documents import Document, Segment
from lindoc.core.segments import segments
from lindoc.models.encoder import Tokenizer

Make = Callable[..., Document]
Lawful = Callable[..., list[Segment]]

WORDS = "the term of this agreement begins on the first day of May and ends when either party says so in writing"
LINES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=60),
    st.lists(st.sampled_from(WORDS.split()), min_size=3, max_size=60).map(
        lambda words: " ".join(words).capitalize() + "."
    ),
    st.sampled_from(
        ["", "# Heading", "ARTICLE II", "- an item", "x" * 450, "é\u0301" * 3, "\u200e\u200f", "\x06", "\ta\r"]
    ),
)
TEXTS = st.lists(LINES, min_size=1, max_size=40).map(lambda lines: "Start.\n" + "\n".join(lines))
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(text=TEXTS, limit=st.sampled_from([8, 30, 254]))
def test_nothing_is_lost_or_read_twice(text: str, limit: int, document: Make, lawful: Lawful) -> None:
    lawful(document("any.md", text), limit)


@QUICK
@given(text=TEXTS, more=TEXTS)
def test_appending_changes_only_the_last_segment(text: str, more: str, document: Make, wordpiece: Tokenizer) -> None:
    before = [segment for segment, _ in segments(document("any.md", text + "\n"), wordpiece)]
    after = [segment for segment, _ in segments(document("any.md", text + "\n" + more), wordpiece)]
    assert after[: max(len(before) - 1, 0)] == before[:-1]


@pytest.mark.parametrize("name", ["prose.txt", "code.py", "chat.txt"])
def test_appending_line_by_line(name: str, document: Make, wordpiece: Tokenizer) -> None:
    lines = {"prose.txt": PROSE, "code.py": CODE, "chat.txt": CHAT}[name].splitlines(keepends=True)
    before: list[Segment] = []
    for count in range(len(lines) // 2, len(lines) + 1):
        now = [segment for segment, _ in segments(document(name, "".join(lines[:count])), wordpiece)]
        assert now[: max(len(before) - 1, 0)] == before[:-1]
        before = now
    assert len(before) > 3


@settings(QUICK, max_examples=20)
@given(cut=st.integers(1, 1300), limit=st.sampled_from([12, 30, 254]), step=st.sampled_from(["word", "line", "run"]))
def test_a_text_may_go_on_anywhere_in_a_paragraph(
    cut: int, limit: int, step: str, document: Make, wordpiece: Tokenizer
) -> None:
    """A line, a word or a run without a break that is not ended yet: only the last segment may change."""
    text = {"word": " ".join(PROSE.split()), "line": LONG, "run": "Begun: " + "zqxjabcde" * 150}[step]
    cut = min(cut, len(text) - 1) if step != "line" else LONG.find("\n", cut) + 1 or len(LONG)
    before = [segment for segment, _ in segments(document("a.txt", text[:cut]), wordpiece, limit)]
    after = [segment for segment, _ in segments(document("a.txt", text), wordpiece, limit)]
    assert after[: max(len(before) - 1, 0)] == before[:-1]


def test_a_heading_stays_with_a_long_paragraph(document: Make, wordpiece: Tokenizer) -> None:
    text = "THE VOYAGE\n\n" + "The captain wrote that the ice was heavy and asked for coal. " * 40
    first, *_ = (segment for segment, _ in segments(document("a.txt", text), wordpiece))
    assert first.text.startswith("THE VOYAGE") and first.tokens > 200 and first.text.endswith("coal.")


def test_encodings_are_those_of_the_segments_text(document: Make, wordpiece: Tokenizer) -> None:
    for segment, encoding in segments(document("prose.txt", PROSE), wordpiece):
        (alone,) = wordpiece.encode([segment.text])
        assert encoding == alone


def test_paragraphs_are_joined_and_sections_begin_segments(
    document: Make, lawful: Lawful, wordpiece: Tokenizer
) -> None:
    found = lawful(document("prose.txt", PROSE))
    assert all(60 <= segment.tokens <= 254 for segment in found[:-1])
    for segment in found:
        before, heading, after = segment.text.partition("CHAPTER")
        (read,) = wordpiece.encode([before])
        assert len(read.ids) < 60 or not heading  # only a small rest is joined with the next chapter
        assert not heading or len(after) > 100  # a heading stays with what it heads


def test_a_long_sentence_is_cut_between_words_and_a_long_word_anywhere(document: Make, lawful: Lawful) -> None:
    found = lawful(document("long.txt", "word " * 700 + "\n\n" + "".join("zqxj"[i % 4] for i in range(3000))))
    assert all(segment.text.strip("word ") == "" for segment in found[:2])
    assert sum(segment.tokens for segment in found) > 700 + 300


def test_a_run_without_a_break_is_not_one_unknown_token(document: Make, wordpiece: Tokenizer) -> None:
    encodings = [encoding for _, encoding in segments(document("run.txt", "a" * 5000), wordpiece)]
    assert sum(encoding.unknown for encoding in encodings) == 0
    assert sum(len(encoding.ids) for encoding in encodings) > 500


def test_functions_begin_segments(document: Make, lawful: Lawful) -> None:
    found = lawful(document("code.py", CODE))
    assert sum(segment.text.startswith(("def ", "@cache\ndef ")) for segment in found) >= 0.8 * len(found)
    assert not any(segment.text.rstrip().endswith("@cache") for segment in found)


def test_lines_are_counted_inside_segments(document: Make, lawful: Lawful) -> None:
    opened = document("code.py", CODE)
    lines = CODE.split("\n")
    for segment in lawful(opened):
        at = segment.text.rindex("return")
        place = segment.locate(opened.name, segment.start + at, segment.start + at + 6)
        assert place.line_start is not None and "return" in lines[place.line_start - 1]
        assert CODE[: place.start].count("\n") + 1 == place.line_start == place.line_end
        whole = segment.locate(opened.name, segment.start, segment.end)
        assert whole.line_start == CODE[: segment.start].count("\n") + 1


PROSE = "\n".join(
    f"CHAPTER {number}\n"
    + "\n\n".join(
        f"In the year {1800 + number * 10 + part} the company sent its ship number {part} to the north.\n"
        "The captain wrote that the ice was heavy, and that nobody had slept. He asked for coal."
        for part in range(6)
    )
    for number in range(1, 6)
)
LONG = "\n".join(  # one paragraph of many lines
    f"{'although' if line % 3 else 'because'} nobody in the {line}th house had seen the ship, which was said to be lost"
    for line in range(40)
)
CODE = "import functools\n\ncache = functools.cache\n\n\n" + "\n\n".join(
    f"@cache\ndef area_{name}(width: float, height: float) -> float:\n"
    f'    """The area of a {name} with these sides, in square metres, rounded down to a whole number."""\n'
    "    if width < 0 or height < 0:\n        raise ValueError('a side cannot be negative')\n\n"
    f"    factor = 1.0  # how much of the rectangle a {name} fills\n    return factor * width * height\n"
    for name in ["square", "triangle", "circle", "rhombus", "trapezium", "ellipse"]
)
CHAT = "".join(
    f"[{9 + minute // 60:02d}:{minute % 60:02d}] <{speaker}> {text}\n"
    for minute in range(0, 120, 3)
    for speaker, text in [("ann", "does the new build start for you?"), ("bob", f"no, error {minute} on start")]
)

"""Sentences by rules; repair with the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lindoc.core.repair import repair, split_runs
from lindoc.core.sentences import sentences

CASES = {
    "prose": ["It rained.", "Nobody came!", "Why?", "“Who knows,” he said."],
    "abbreviations": [
        "Mr. Smith of Acme Inc. paid Dr. J. R. Jones on Jan. 5.",
        "See Sec. 3.2 and Art. IV, e.g. for fees.",
    ],
    "company at the end": ["It was sold to Acme Inc.", "The price was low."],
    "decimals and addresses": ["The fee is 3.5 percent, see http://a.example.com/x.html for more.", "It is due now."],
    "countries": ["It moved to the U.S. market in 1990.", "Sales rose."],
}
LINES = {
    "clauses": ["1. Term. The term is one year", "2. Fees. None are due", "(a) except taxes;"],
    "chat": ["[18:03] <ana> does it start", "[18:04] <ben> no. error 5", "[18:05] * ana sighs"],
    "code": ["def area(a):", "    b = a * 2", "    return b"],
    "list": ["- one thing", "- another thing"],
}


@pytest.mark.parametrize("kind", CASES)
def test_sentences_of_prose(kind: str) -> None:
    text = " ".join(CASES[kind])
    assert [text[start:end] for start, end in sentences(text)] == CASES[kind]


@pytest.mark.parametrize("kind", LINES)
def test_lines_that_are_sentences(kind: str) -> None:
    text = "\n".join(LINES[kind])
    starts = {text[start:end].split("\n")[0] for start, end in sentences(text)}
    assert all(any(line.strip().startswith(start) for start in starts) for line in LINES[kind])
    assert all("\n" not in text[start:end] for start, end in sentences(text))


def test_a_wrapped_sentence_is_one_and_an_underline_does_not_break_it() -> None:
    text = "3.3 Ownership. NETTAXI shall own all right, title, and\r\n ------\r\ninterest in the Pages.\r\n\r\nNext."
    assert [text[start:end][:8] for start, end in sentences(text)] == ["3.3 Owne", "NETTAXI ", "Next."]


@given(st.text(st.sampled_from("aB1. \n!?-#([U.S.”") | st.characters(exclude_categories=["Cs"]), max_size=200))
def test_every_character_is_in_exactly_one_sentence(text: str) -> None:
    at = 0
    for start, end in sentences(text):
        assert at <= start < end
        assert not text[at:start].strip()
        assert text[start:end] == text[start:end].strip()
        at = end
    assert not text[at:].strip()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the ﬁrst oﬃce", "the first office"),
        ("indemni\ufffe\r\n fication", "indemnification"),
        ("indemni-\r\nfication of", "indemnification of"),
        ("Anglo-\nSaxon and 3-\n4", "Anglo-\nSaxon and 3-\n4"),
        ("soft\u00adly", "softly"),
    ],
)
def test_repair(text: str, shown: str) -> None:
    assert repair(text).text == shown


@given(st.text(st.sampled_from("ab ﬁﬃ-\n\r\ufffe\u00ad"), max_size=80), st.integers(0, 3))
def test_the_way_back_from_repaired_text(text: str, runs: int) -> None:
    repaired = split_runs(repair(text + "x" * 130 * runs))
    original = text + "x" * 130 * runs
    at = 0
    for index, char in enumerate(repaired.text):
        start, end = repaired.original(index, index + 1)
        assert at <= start <= end <= len(original)
        if char in "ab" or (char == "x" and start < end):
            assert original[start:end] == char
        at = max(at, start)
    assert max(map(len, repaired.text.split()), default=0) <= 180

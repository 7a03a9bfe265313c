"""Questions about code that ask for a place: the lines that retrieval finds are the answer, not a span inside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

import numpy as np

from lindoc.core.documents import Locator, Segment
from lindoc.core.results import Answer, Evidence
from lindoc.core.search import STOP_WORDS, Hit, Index
from lindoc.core.store import Store
from lindoc.core.tasks.embed import Vector

ASKS_WHERE = re.compile(r"\s*(in\s+)?(where|which\s+(file|function|method|class|module|line)s?)\b", re.IGNORECASE)
DEFINITION = re.compile(
    r"\s*(export\s+|pub\s+|async\s+|static\s+|public\s+)*(def|class|func|fn|function|interface|struct)\b"
)
STEM = 4  # characters that two words must share from their start
LEAST_COSINE = 0.15  # of question and passage; a first guess, not yet tuned
NAMED = 0.1  # for each of the question's words in the file's path
SAID = 0.05  # for each in the quoted line
DEFINED = 0.05  # if that line defines what they name
IS_TEST = re.compile(r"(^|/)tests?/[^/]*$|(^|/)(test_|conftest)[^/]*$|_test\.\w+$|\.(test|spec)\.\w+$")
TESTS_SHARE = 0.5  # of the score of a test, unless tests are asked for
MOST = 3

Place = Callable[[int, Segment, int, int], Locator]  # content, segment, start, end -> verified place


def is_code(store: Store, index: Index, hit: Hit) -> bool:
    return store.content(int(index.contents[hit.position])).kind == "code"


def locate(
    store: Store, index: Index, question: str, vector: Vector, hits: Sequence[Hit], place: Place
) -> Answer | None:
    """The code among the hits that a "where …" question asks for, or None if none is near.

    The score is the cosine of question and passage, higher where the file's name or the quoted line says the
    question's words or the line defines one, lower for tests unless these are asked for; the quote is the passage's
    most telling line.
    """
    asked = stems(question)
    evidence: list[Evidence] = []
    for hit in hits:
        cosine = float(np.dot(index.vectors[hit.position], vector))
        if not is_code(store, index, hit) or cosine < LEAST_COSINE:
            continue
        key, segment = store.segment(int(index.rows[hit.position]))
        start, end = telling_line(segment.text, question)
        quote = segment.text[start:end]
        where = place(key, segment, segment.start + start, segment.start + end)
        path = "/".join(PurePath(where.document).parts[-2:])
        named = NAMED * len(asked & stems(path)) + SAID * len(asked & stems(quote))
        if DEFINITION.match(quote) and asked & stems(quote):
            named += DEFINED
        share = TESTS_SHARE if IS_TEST.search(path) and "test" not in asked else 1.0
        evidence.append(Evidence(where, quote, min(share * (cosine + named), 1.0)))
    if not evidence:
        return None
    best = sorted(evidence, key=lambda one: -one.score)[:MOST]
    return Answer(question, True, best[0].quote, best[0].score, tuple(best))


def telling_line(text: str, question: str) -> tuple[int, int]:
    """Start and end of the line that shares most words with the question; a definition wins over its equals."""
    asked = stems(question)
    best, best_score, begin = (0, len(text)), -1.0, 0
    for line in text.splitlines(keepends=True):
        stripped = line.strip()
        if said := stems(stripped):
            score = len(asked & said) + (0.5 if DEFINITION.match(line) else 0.0)
            if score > best_score:
                start = begin + line.index(stripped)
                best, best_score = (start, start + len(stripped)), score
        begin += len(line)
    return best


def stems(text: str) -> set[str]:
    """Beginnings of the words, in lower case, identifiers taken apart, without words that say nothing."""
    parts = (part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text))
    return {part[:STEM] for part in parts if part not in STOP_WORDS and len(part) > 2}

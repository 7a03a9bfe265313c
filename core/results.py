"""What the tasks return. Frozen; every result that quotes points back to its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lindoc.core.documents import Locator, Segment


@dataclass(frozen=True, slots=True)
class Embedding:
    """One vector and what it stands for. `segment` is None for a whole document's vector."""

    locator: Locator
    segment: int | None
    tokens: int
    text: str
    vector: NDArray[np.float32]  # (dim,), L2-normalised


@dataclass(frozen=True, slots=True)
class Passage:
    """A segment found for a query."""

    locator: Locator
    segment: Segment
    score: float  # higher is better; comparable within one search only


@dataclass(frozen=True, slots=True)
class Evidence:
    """A verbatim quote with its place: canonical[locator.start:locator.end] == quote."""

    locator: Locator
    quote: str
    score: float  # in [0, 1]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question; `answer` is empty and `answerable` False when the text does not give it.
    `evidence` is best first, and holds the nearest passages when there is no answer."""

    question: str
    answerable: bool
    answer: str
    score: float  # in [0, 1]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A span of one given text (Python API): text == context[start:end]."""

    text: str
    start: int
    end: int
    score: float  # in [0, 1]


@dataclass(frozen=True, slots=True)
class SummarySentence:
    locator: Locator
    text: str
    score: float  # in [0, 1]


@dataclass(frozen=True, slots=True)
class Updated:
    """Documents of an index after it was brought up to date."""

    read: int  # anew or further
    unchanged: int
    removed: int
    failed: int

"""An extractive summary: sentences scored by salience, centrality and query, chosen for variety over the whole
length."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lindoc.core.errors import UsageError
from lindoc.core.search import Index, overlap, word_set
from lindoc.core.store import Store
from lindoc.core.tasks.embed import Vector, text_vectors
from lindoc.models.encoder import Encoder

LEAST_WORDS = (8, 4)  # of a sentence; fewer where too few are that long (chat)
MOST_CHARS = 600  # longer "sentences" are tables and lists
RELEVANCE = 0.7  # of the trade between a sentence's score and its difference from those chosen
NEAR = 0.92  # cosine from which two sentences say the same
SAME_WORDS = 0.7  # Jaccard overlap from which they do
PER_STRETCH = 2  # sentences from each stretch of the text, on average
OVERSAMPLE = 4  # candidates for each sentence of a stretch
REPEATED = 3  # times from which a line is a header or footer
HEADING = re.compile(
    r"(?:#{1,6}\s|(?:article|section|chapter|exhibit|schedule|appendix|table|figure)\s+[\divxlc]+\b.{0,60}$)", re.I
)


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A sentence that may be chosen. Ordered by score, then by place (earlier is better)."""

    score: float
    order: int  # minus its number in reading order
    position: int  # of its segment in the index
    start: int  # code points in the segment's text
    end: int


@dataclass(frozen=True, slots=True)
class Chosen:
    candidate: Candidate
    score: float  # in [0, 1]


def wanted_count(length: int | float, sentences: int) -> int:
    """`length` is a number of sentences, or a share of them below 1."""
    if isinstance(length, float) and 0 < length < 1:
        return max(1, round(length * sentences))
    if length < 1 or length != int(length):
        raise UsageError(f"length {length}: give a number of sentences from 1, or a share between 0 and 1")
    return int(length)


def summarize(
    encoder: Encoder,
    store: Store,
    index: Index,
    keys: Sequence[int],
    length: int | float,
    query: Vector | None,
    block: int = 16,
) -> list[Chosen]:
    """Sentences in reading order. keys : contents in the order of the index; query : (D,), L2-normalised"""
    total, repeated = _count(store, keys)
    if not total:
        return []
    count = wanted_count(length, total)
    stretches = 1 if query is not None else max(1, math.ceil(count / PER_STRETCH))
    cap = math.ceil(count / stretches)
    relevance = _segment_scores(store, index, keys, query)
    for least in (*LEAST_WORDS, 0):  # where nothing looks like a sentence (tables, code), whatever has a letter will do
        heaps: list[list[Candidate]] = [[] for _ in range(stretches)]
        for candidate, text in _candidates(store, keys, relevance, query is not None):
            if (is_sentence(text, least) and _line(text) not in repeated) if least else any(map(str.isalpha, text)):
                heap = heaps[min(-candidate.order * stretches // total, stretches - 1)]
                keep = heapq.heappush if len(heap) < OVERSAMPLE * cap else heapq.heappushpop
                keep(heap, candidate)
        if sum(map(len, heaps)) >= min(count, total) or (any(heaps) and not least):
            break
    pool = [(stretch, candidate) for stretch, heap in enumerate(heaps) for candidate in sorted(heap, reverse=True)]
    return _choose(encoder, store, index, pool, count, cap, query, block)


def is_sentence(text: str, least: int = LEAST_WORDS[-1]) -> bool:
    """No heading, page number, table row, rule, list's opening or fragment. least : words"""
    words = re.findall(r"[^\W\d_]{2,}", text)
    letters = sum(char.isalpha() for char in text)
    visible = sum(not char.isspace() for char in text)
    if len(words) < least or len(text) > MOST_CHARS or letters < 0.6 * visible:
        return False
    if "...." in text or ". . ." in text or "____" in text or HEADING.match(text.strip()):
        return False
    if text.rstrip().rstrip("\"'”’)]*_").endswith((".", "!", "?", "…", ";", "。")):
        return True
    capitals = sum(word[0].isupper() for word in words)
    running = len(words) >= 2 * LEAST_WORDS[-1] and not text.rstrip().endswith(":") and capitals < 0.6 * len(words)
    return running and least < LEAST_WORDS[0]  # chat ends its sentences with the line


def _count(store: Store, keys: Sequence[int]) -> tuple[int, frozenset[int]]:
    """Sentences in all, and the hashes of short ones that come again and again: headers and footers."""
    total, seen = 0, Counter[int]()
    for key in keys:
        for _, _, text, table in store.sentences(key):
            total += len(table)
            seen.update(_line(text[int(start) : int(end)]) for start, end, _ in table if end - start < 200)
    return total, frozenset(line for line, times in seen.items() if times >= REPEATED)


def _line(text: str) -> int:
    return hash(re.sub(r"[\W\d_]+", " ", text.lower()).strip())


def _segment_scores(store: Store, index: Index, keys: Sequence[int], query: Vector | None) -> NDArray[np.float32]:
    """(n,) in [0, 1]: how near each segment is to its document, or to the query."""
    if query is not None:
        cosine = index.vectors @ query
    else:
        cosine = np.zeros(len(index.rows), np.float32)
        for key in keys:
            rows = index.contents == key
            cosine[rows] = index.vectors[rows] @ store.document_vector(key)
    low, high = float(cosine.min()), float(cosine.max())
    return ((cosine - low) / max(high - low, 1e-6)).astype(np.float32)


def _candidates(
    store: Store, keys: Sequence[int], relevance: NDArray[np.float32], focused: bool
) -> Iterator[tuple[Candidate, str]]:
    share = 0.7 if focused else 0.4  # of the segment's score; the rest is salience
    number = position = 0
    for key in keys:
        for _, _, text, table in store.sentences(key):
            for start, end, salience in table:
                score = share * float(relevance[position]) + (1 - share) * float(salience)
                begin, stop = int(start), int(end)
                yield Candidate(score, -number, position, begin, stop), text[begin:stop]
                number += 1
            position += 1


def _choose(
    encoder: Encoder,
    store: Store,
    index: Index,
    pool: list[tuple[int, Candidate]],
    count: int,
    cap: int,
    query: Vector | None,
    block: int,
) -> list[Chosen]:
    """Maximal marginal relevance, at most `cap` sentences from a stretch while the others have any left."""
    texts = [_text(store, index, candidate) for _, candidate in pool]
    vectors = text_vectors(texts, encoder, carry=False, block=block)  # (C, D)
    if not texts:
        return []
    goal = query if query is not None else vectors.mean(0) / max(float(np.linalg.norm(vectors.mean(0))), 1e-6)
    scores = np.clip(0.5 * np.array([one.score for _, one in pool]) + 0.5 * (vectors @ goal), 0, 1)
    words = [word_set(text) for text in texts]
    nearest = np.zeros(len(pool))  # cosine to the nearest chosen
    left = np.ones(len(pool), bool)
    stretches = np.array([stretch for stretch, _ in pool])
    taken = np.zeros(stretches.max() + 1, int)  # sentences chosen from each stretch
    chosen: list[int] = []
    while len(chosen) < count and left.any():
        free = left & (taken[stretches] < cap)
        free = free if free.any() else left
        best = int(np.argmax(np.where(free, RELEVANCE * scores - (1 - RELEVANCE) * nearest, -np.inf)))
        left[best] = False
        if nearest[best] > NEAR or any(overlap(words[best], words[other]) >= SAME_WORDS for other in chosen):
            continue
        chosen.append(best)
        nearest = np.maximum(nearest, vectors @ vectors[best])
        taken[stretches[best]] += 1
    picked = [Chosen(pool[at][1], float(scores[at])) for at in chosen]
    return sorted(picked, key=lambda one: -one.candidate.order)


def _text(store: Store, index: Index, candidate: Candidate) -> str:
    _, segment = store.segment(int(index.rows[candidate.position]))
    return segment.text[candidate.start : candidate.end]

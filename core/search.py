"""Passages for a query: BM25 over words and cosine over vectors, mixed; near-duplicates collapsed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lindoc.core.schema import identifier_parts
from lindoc.core.store import Store
from lindoc.core.tasks.embed import Vector, normalized

POOL = 100  # candidates taken from each of the two rankings
DENSE_SHARE = 0.7  # of the mix; the rest is BM25
SAME_WORDS = 0.9  # Jaccard overlap from which two passages are one
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by do does did for from had has have how i in is it its of on or that the their there "
        "this to was were what when where which who whom whose why will with you your",
    )
)


@dataclass(frozen=True, slots=True)
class Index:
    """The vectors of all segments in scope, in reading order. 1.5 kB a segment."""

    rows: NDArray[np.int64]  # (n,) row ids in the store
    contents: NDArray[np.int64]  # (n,)
    vectors: Vector  # (n, D), L2-normalised

    def neighbours(self, position: int) -> list[int]:
        """The segments before and after, of the same document."""
        around = [at for at in (position - 1, position + 1) if 0 <= at < len(self.rows)]
        return [at for at in around if self.contents[at] == self.contents[position]]

    def head(self, position: int) -> int:
        """The first segment of the same document."""
        return int(np.argmax(self.contents == self.contents[position]))


@dataclass(frozen=True, slots=True)
class Hit:
    position: int  # in the index
    score: float  # in [0, 1], comparable within one search only


def load_index(store: Store, keys: Sequence[int], segments: int, dim: int) -> Index:
    """keys : the contents in scope; segments : how many they have together"""
    rows, contents = np.zeros(segments, np.int64), np.zeros(segments, np.int64)
    vectors = np.zeros((segments, dim), np.float32)
    at = 0
    for key in keys:
        for row, _, vector in store.vectors(key):
            rows[at], contents[at], vectors[at] = row, key, normalized(vector)
            at += 1
    store.set_scope(keys)
    return Index(rows, contents, vectors)


def hybrid(store: Store, index: Index, query: str, vector: Vector, limit: int) -> list[Hit]:
    """The best `limit` segments. vector : (D,) of the query, L2-normalised"""
    if not len(index.rows):
        return []
    cosine = index.vectors @ vector  # (n,)
    dense = np.argsort(-cosine, kind="stable")[:POOL]
    words = word_scores(store, index, query)
    floor = float(cosine[dense[-1]]) if len(dense) == POOL else float(cosine.min())
    spread = max(float(cosine[dense[0]]) - floor, 1e-6)
    best_word = max(words.values(), default=0.0) or 1.0
    scores: dict[int, float] = {}
    for position in {*dense.tolist(), *words}:
        meaning = max(float(cosine[position]) - floor, 0.0) / spread
        scores[position] = DENSE_SHARE * meaning + (1 - DENSE_SHARE) * words.get(position, 0.0) / best_word
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return distinct(store, index, [Hit(position, min(score, 1.0)) for position, score in ranked], limit)


def word_scores(store: Store, index: Index, query: str) -> dict[int, float]:
    """Position in the index -> BM25, of the best POOL segments."""
    match = fts_query(query)
    found = store.words(match, POOL) if match else []
    order = np.argsort(index.rows, kind="stable")
    rows = np.array([row for row, _ in found], np.int64)
    positions: list[int] = order[np.searchsorted(index.rows, rows, sorter=order)].tolist()
    return {position: max(score, 0.0) for position, (_, score) in zip(positions, found, strict=True)}


def fts_query(query: str) -> str:
    """Any of the query's words, each quoted so that nothing in it is FTS5 syntax; parts of identifiers too."""
    words = [word.lower() for word in re.findall(r"[^\W_]+", query)] + identifier_parts(query)
    telling = [word for word in words if word not in STOP_WORDS] or words
    return " OR ".join(f'"{word}"' for word in dict.fromkeys(telling))


def distinct(store: Store, index: Index, hits: Iterable[Hit], limit: int) -> list[Hit]:
    """The first `limit` hits that do not repeat one before."""
    kept: list[Hit] = []
    seen: list[frozenset[str]] = []
    for hit in hits:
        if len(kept) == limit:
            break
        _, segment = store.segment(int(index.rows[hit.position]))
        words = word_set(segment.text)
        if not any(overlap(words, other) >= SAME_WORDS for other in seen):
            kept.append(hit)
            seen.append(words)
    return kept


def word_set(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity; two empty sets are the same."""
    union = len(one | other)
    return len(one & other) / union if union else 1.0

"""Words as a ranking: BM25 over the tokens of SQLite's FTS5, and the product's mix of words and meaning."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch

from lindoc.core.search import DENSE_SHARE, POOL, STOP_WORDS

TOKENIZE = "porter unicode61"
K1, B = 1.2, 0.75  # FTS5's constants
LEAST_IDF = 1e-6  # of words in more than half of the passages, as in FTS5


class WordIndex:
    """`bm25()` of an FTS5 table for many queries at once.

    The tokens are FTS5's own, read through `fts5vocab`; the sum over them is done here, since 10,000 queries one by one
    would take minutes in SQLite. tests/examples compares the two.
    """

    def __init__(self, passages: Sequence[str]):
        self.n_passage = len(passages)
        found = _occurrences(passages)
        hits = Counter(term for term, _, _ in found)  # passages of each term, in the order of the occurrences
        starts = accumulate(hits.values(), initial=0)
        self.rows = {term: slice(a, a + n) for (term, n), a in zip(hits.items(), starts, strict=False)}
        self.passage = np.array([passage for _, passage, _ in found], np.int64)  # of each occurrence
        count = np.array([times for _, _, times in found], np.float64)
        lengths = np.bincount(self.passage, count, self.n_passage)  # tokens
        each = np.fromiter(hits.values(), np.float64, len(hits))
        idf = np.log((self.n_passage - each + 0.5) / (each + 0.5))
        idf = np.repeat(np.where(idf > 0, idf, LEAST_IDF), each.astype(np.int64))
        norm = K1 * (1 - B + B * lengths[self.passage] / max(lengths.mean(), 1e-9))
        self.weight = (idf * count * (K1 + 1) / (count + norm)).astype(np.float32)

    def scores(self, queries: Sequence[Sequence[str]]) -> torch.Tensor:
        """(Q, n) fp32 for queries as FTS5 terms (`query_terms`); 0 where no term occurs."""
        out = np.zeros((len(queries), self.n_passage), np.float32)
        for row, terms in zip(out, queries, strict=True):
            for term in terms:
                if term in self.rows:
                    row[self.passage[self.rows[term]]] += self.weight[self.rows[term]]
        return torch.from_numpy(out)


def query_terms(queries: Sequence[str], *, telling: bool = False) -> list[list[str]]:
    """The FTS5 terms of "any of its words" for each query, each word once.

    telling : without stop words unless there are no others, as the product asks
    """
    words = [list(dict.fromkeys(re.findall(r"[^\W_]+", query.lower()))) for query in queries]
    if telling:
        words = [[word for word in some if word not in STOP_WORDS] or some for some in words]
    known = list(dict.fromkeys(word for some in words for word in some))
    terms: dict[int, list[str]] = {}
    for term, at, _ in _occurrences(known):
        terms.setdefault(at, []).append(term)
    by_word = {word: terms.get(i, []) for i, word in enumerate(known)}
    return [[term for word in some for term in by_word[word]] for some in words]


def _occurrences(texts: Sequence[str]) -> list[tuple[str, int, int]]:
    """(term, text, times), by term and text."""
    database = sqlite3.connect(":memory:")
    database.execute(f'CREATE VIRTUAL TABLE words USING fts5(text, tokenize="{TOKENIZE}")')
    database.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", enumerate(texts))
    database.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, instance)")
    found = database.execute("SELECT term, doc, count(*) FROM vocabulary GROUP BY term, doc ORDER BY term, doc")
    rows: list[tuple[str, int, int]] = found.fetchall()
    database.close()
    return rows


def hybrid(cosine: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """The product's mix (core/search.py, `hybrid`): the best POOL of each ranking, each scaled to its best.

    cosine : (Q, n), -inf for what is no candidate; words : (Q, n) BM25, 0 where no word occurs. Returns (Q, n), -inf
    for what neither ranking found. The product's near-duplicates, which it collapses afterwards, stay.
    """
    pool = min(POOL, cosine.shape[1])
    words = words.masked_fill(cosine.isneginf(), 0)
    dense = cosine.topk(pool, dim=1).values
    floor = dense.masked_fill(dense.isneginf(), torch.inf).amin(1, keepdim=True)
    spread = (dense[:, :1] - floor).clamp(min=1e-6)
    word_floor = words.topk(pool, dim=1).values[:, -1:]
    words = torch.where(words >= word_floor, words, 0)
    best = words.amax(1, keepdim=True)
    meaning = ((cosine - floor) / spread).clamp(min=0)
    mixed = DENSE_SHARE * meaning + (1 - DENSE_SHARE) * words / torch.where(best > 0, best, 1)
    return mixed.masked_fill((cosine < floor) & (words <= 0), -torch.inf)

"""Figures against their definitions, and BM25 and the mix against SQLite and the product."""

from __future__ import annotations

import random
import sqlite3
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from examples.evaluate.baselines import TOKENIZE, WordIndex, hybrid, query_terms
from examples.evaluate.measures import best_f1, ndcg, spearman
from examples.evaluate.rouge import best_rouge, longest_common, rouge
from lindoc.core import search
from lindoc.core.search import Index

WORDS = [
    "run", "running", "runs", "the", "of", "clause", "clauses", "state", "naïve", "C3", "agreement",
    "x", "window", "windows", "reading", "sea", "it's",
]  # fmt: skip


def passages(count: int, draw: random.Random) -> list[str]:
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 30))) + "." for _ in range(count)]


def test_bm25_is_that_of_fts5() -> None:
    draw = random.Random(0)
    texts, queries = passages(60, draw), [" ".join(draw.sample(WORDS, 4)) for _ in range(20)]
    database = sqlite3.connect(":memory:")
    database.execute(f'CREATE VIRTUAL TABLE words USING fts5(text, tokenize="{TOKENIZE}")')
    database.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", enumerate(texts))
    scores = WordIndex(texts).scores(query_terms(queries)).numpy()
    for query, row in zip(queries, scores, strict=True):
        match = " OR ".join(f'"{word}"' for word in query.replace("'", " ").split())
        found = database.execute("SELECT rowid, -bm25(words) FROM words WHERE words MATCH ?", (match,)).fetchall()
        expected = np.zeros(len(texts))
        for at, score in found:
            expected[at] = score
        np.testing.assert_allclose(row, expected, rtol=1e-5)
    database.close()


def test_stop_words_are_left_out_unless_there_are_no_others() -> None:
    asked = query_terms(["What is the clause of rent?", "what is it"], telling=True)
    assert asked == [["claus", "rent"], ["what", "is", "it"]]


def test_bm25_of_words_that_occur_nowhere() -> None:
    assert not WordIndex(["one", "two"]).scores(query_terms(["three", "", "!?"])).any()


@pytest.mark.parametrize("count", [7, 250])
def test_the_mix_is_the_products(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.nn.functional.normalize(torch.randn(count, 16, generator=generator), dim=1)
    query = torch.nn.functional.normalize(torch.randn(16, generator=generator), dim=0)
    words = torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < 0.6)
    best = sorted(((i, float(w)) for i, w in enumerate(words) if w > 0), key=lambda one: -one[1])[: search.POOL]
    store = SimpleNamespace(segment=lambda row: (0, SimpleNamespace(text=f"passage {row}")))
    monkeypatch.setattr(search, "word_scores", lambda *_: dict(best))
    index = Index(np.arange(count), np.zeros(count, np.int64), vectors.numpy())
    hits = search.hybrid(store, index, "q", query.numpy(), count)  # type: ignore[arg-type]
    mixed = hybrid((vectors @ query)[None], words[None])[0]
    assert {hit.position for hit in hits} == set(mixed.isfinite().nonzero()[:, 0].tolist())
    assert [hit.score for hit in hits] == pytest.approx([float(mixed[hit.position]) for hit in hits], abs=1e-5)


def test_the_mix_leaves_out_what_is_no_candidate() -> None:
    cosine = torch.tensor([[0.9, 0.5, -torch.inf], [0.1, -torch.inf, -torch.inf]])
    mixed = hybrid(cosine, torch.tensor([[0.0, 3.0, 9.0], [0.0, 0.0, 1.0]]))
    assert mixed.isneginf().tolist() == [[False, False, True], [False, True, True]]
    assert mixed[0, :2].tolist() == pytest.approx([search.DENSE_SHARE, 1 - search.DENSE_SHARE])


def test_ndcg_is_its_definition() -> None:
    draw = random.Random(2)
    scores = torch.rand(9, 25, generator=torch.Generator().manual_seed(0))
    gold = [draw.sample(range(25), draw.choice([1, 2, 14])) for _ in range(9)]
    for row, want, figure in zip(scores, gold, ndcg(scores, gold), strict=True):
        order = row.argsort(descending=True).tolist()[:10]
        reached = sum(1 / np.log2(rank + 2) for rank, at in enumerate(order) if at in want)
        assert figure == pytest.approx(100 * reached / sum(1 / np.log2(r + 2) for r in range(min(10, len(want)))))


def test_what_is_not_found_is_no_hit() -> None:
    scores = torch.tensor([[1.0, -torch.inf, -torch.inf]])
    assert ndcg(scores, [[1]]).tolist() == [0.0]
    assert ndcg(scores, [[0]]).tolist() == [100.0]


def test_best_f1_is_the_best_of_all_thresholds() -> None:
    draw = np.random.default_rng(3)
    scores, positive = draw.integers(0, 6, 40).astype(float), draw.random(40) < 0.4
    each = {}
    for threshold in np.unique(scores):
        said = scores >= threshold
        each[threshold] = 200 * (said & positive).sum() / (said.sum() + positive.sum())
    f1, threshold = best_f1(scores, positive)
    assert f1 == pytest.approx(max(each.values())) and each[threshold] == pytest.approx(f1)


def test_spearman_with_ties() -> None:
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([10.0, 20, 20, 30])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)


def test_rouge_by_hand() -> None:
    figures = rouge("The cat sat on the mat.", "the cat lay on a mat")
    assert figures == pytest.approx({"ROUGE-1": 200 * 4 / 12, "ROUGE-2": 200 * 1 / 10, "ROUGE-L": 200 * 4 / 12})
    assert rouge("", "words") == {"ROUGE-1": 0, "ROUGE-2": 0, "ROUGE-L": 0}
    assert longest_common("abcbdab", "bdcaba") == 4
    assert best_rouge("a b", ["c", "a b"])["ROUGE-2"] == 100

"""A pool searched in every way that the table compares: nDCG@10 of each query, pooled and inside its document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from examples.evaluate.baselines import WordIndex, hybrid, query_terms
from examples.evaluate.collection import Collection
from examples.evaluate.measures import Figures, ndcg
from examples.evaluate.runner import Runner, States, Text

AT_ONCE = 512  # queries
COLUMNS = ("minilm", "bm25", "reset", "carried", "hybrid")
CONTROLS = ("title. minilm", "title. reset", "other state", "first two")
HEAD = 2  # segments whose state is all that "first two" reads


@dataclass(frozen=True, slots=True)
class Found:
    """nDCG@10 in percent of each query (Q,), by column or control."""

    pooled: dict[str, Figures]
    inside: dict[str, Figures]  # only segments of the query's own document are candidates; empty where none is known


@torch.inference_mode()
def search(collection: Collection, ours: Runner, minilm: Runner) -> Found:
    passages = embed_passages(collection, ours, minilm)
    texts = ours.cut(collection.queries)
    mine, theirs = ours.embed(texts), minilm.embed(texts)
    index = WordIndex(collection.segments)
    terms, telling = query_terms(collection.queries), query_terms(collection.queries, telling=True)
    owners = torch.tensor(collection.owners, device=ours.device)
    pooled: dict[str, list[Figures]] = {}
    inside: dict[str, list[Figures]] = {}
    for begin in range(0, len(texts), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        cosines = {name: (theirs if "minilm" in name else mine)[part] @ x.T for name, x in passages.items()}
        bm25, words = (index.scores(some[part]).to(ours.device) for some in (terms, telling))
        for name, scores in rankings(cosines, bm25, words):
            scores = best_of_document(scores, owners, len(collection.documents)) if collection.whole else scores
            pooled.setdefault(name, []).append(ndcg(scores, collection.gold[part]))
        if collection.own:
            own = torch.tensor(collection.own[part], device=ours.device)
            outside = owners[None, :] != own[:, None]
            cosines = {name: x.masked_fill(outside, -torch.inf) for name, x in cosines.items()}
            for name, scores in rankings(cosines, bm25.masked_fill(outside, 0), words):
                inside.setdefault(name, []).append(ndcg(scores, collection.gold[part]))
    return Found(*({name: np.concatenate(x) for name, x in figures.items()} for figures in (pooled, inside)))


def rankings(
    cosines: dict[str, torch.Tensor], bm25: torch.Tensor, words: torch.Tensor
) -> Iterator[tuple[str, torch.Tensor]]:
    """Scores (Q, n) of every column and control, -inf for what is not found. `words`: BM25 as the product asks it."""
    yield from cosines.items()
    yield "bm25", bm25.masked_fill(bm25 <= 0, -torch.inf)
    yield "hybrid", hybrid(cosines.get("carried", cosines["reset"]), words)


def best_of_document(scores: torch.Tensor, owners: torch.Tensor, documents: int) -> torch.Tensor:
    """(Q, n) segments -> (Q, documents), each as good as its best segment."""
    out = scores.new_full((len(scores), documents), -torch.inf)
    return out.scatter_reduce(1, owners.expand(len(scores), -1), scores, "amax")


def embed_passages(collection: Collection, ours: Runner, minilm: Runner) -> dict[str, torch.Tensor]:
    """(n, D) of all segments, by column and control; without documents only `minilm` and `reset`."""
    texts = ours.cut(collection.segments)
    passages = {"minilm": minilm.embed(texts), "reset": ours.embed(texts)}
    if collection.alone:
        return passages
    documents = split_by(texts, collection.documents)
    passages["carried"], states = ours.embed_documents(documents)
    if any(collection.titles):
        titles = [
            title for title, document in zip(collection.titles, collection.documents, strict=True) for _ in document
        ]
        titled = ours.cut([f"{t}. {s}" if t else s for t, s in zip(titles, collection.segments, strict=True)])
        passages["title. minilm"], passages["title. reset"] = minilm.embed(titled), ours.embed(titled)
    passages["other state"] = after_another(documents, states, ours)
    passages["first two"] = after_the_head(documents, ours)
    return passages


def split_by(texts: list[Text], documents: list[list[str]]) -> list[list[Text]]:
    rest = iter(texts)
    return [[next(rest) for _ in document] for document in documents]


def after_another(documents: list[list[Text]], states: States, ours: Runner) -> torch.Tensor:
    """Every segment read after the whole of another document: the one half the set further on."""
    shift = max(len(documents) // 2, 1)
    rows = [(i + shift) % len(documents) for i, document in enumerate(documents) for _ in document]
    return ours.embed_after([text for document in documents for text in document], states, rows)


@torch.inference_mode()
def after_the_head(documents: list[list[Text]], ours: Runner) -> torch.Tensor:
    """The first two segments carried; every later one reads the state after them, and nothing else is kept."""
    heads, states = ours.embed_documents([document[:HEAD] for document in documents])
    out = ours.embed_after(
        [text for document in documents for text in document],
        states,
        [i for i, document in enumerate(documents) for _ in document],
    )
    first = np.cumsum([0, *(len(document) for document in documents)])[:-1]
    out[[int(a) + j for a, document in zip(first, documents, strict=True) for j in range(len(document[:HEAD]))]] = heads
    return out

"""Summaries against people's: ROUGE on scientific papers, and how much of what a query asks for in a meeting is found.

Every system chooses among the sentences of the product's splitter: Lead the first ones, TextRank and LexRank of `sumy`
the best rated, lindoc by its library. Papers: a fixed number of sentences. Meetings: as many characters as the turns
that answer the query have; recall is the share of these turns' characters inside the chosen sentences. Only lindoc is
told the query; "lindoc, no query" is not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from examples.evaluate import extractive
from examples.evaluate.rouge import MEASURES, best_rouge
from examples.evaluate.runner import load_weights
from examples.evaluate.sets import read_rows
from lindoc.core.keeper import Given
from lindoc.core.pipeline import Library
from lindoc.core.sentences import sentences
from lindoc.core.store import Store
from lindoc.core.tasks.embed import TextDocument
from lindoc.models.encoder import Encoder
from lindoc.models.lindoc_small.encoder import SmallEncoder
from lindoc.models.tokenizer import WordPieceTokenizer

PAPERS = {"scisummnet": 5, "scitldr_a": 1}  # sentences of a summary, about as long as people's
SETS = (*PAPERS, "qmsum")
BLOCK = {"cuda": 256, "cpu": 16}  # windows at once
Span = tuple[int, int]  # code points


@dataclass(frozen=True, slots=True)
class Paper:
    text: str
    references: list[str]


@dataclass(frozen=True, slots=True)
class Meeting:
    text: str
    queries: list[tuple[str, list[Span]]]  # and the turns that answer it


@dataclass(slots=True)
class Prepared:
    """The texts, and the baselines' ratings of their sentences on their way."""

    papers: dict[str, list[Paper]]
    meetings: list[Meeting]
    ratings: dict[str, Future[dict[str, list[float]]]]  # by text; empty without sumy


def prepare(tasks: Path, limit: int | None) -> Prepared:
    """Starts the baselines, which need minutes of one core, beside whatever comes before `measure`."""
    papers = {name: list(islice(_papers(tasks, name), limit)) for name in PAPERS}
    meetings = list(islice(_meetings(tasks), limit))
    texts = [meeting.text for meeting in meetings] + [paper.text for some in papers.values() for paper in some]
    if not extractive.is_installed():
        print("sumy is not installed (extra `eval`): no TextRank, no LexRank", file=sys.stderr)
        return Prepared(papers, meetings, {})
    executor = extractive.pool()
    futures = extractive.submit(executor, [[text[a:b] for a, b in sentences(text)] for text in texts])
    executor.shutdown(wait=False)
    return Prepared(papers, meetings, dict(zip(texts, futures, strict=True)))


def needed(tasks: Path) -> list[Path]:
    return [tasks / name / "dev.jsonl.zst" for name in SETS]


def load_encoder(weights: Path, tokenizer: Path, device: torch.device) -> Encoder:
    """The product's encoder on the weights that are measured."""
    return SmallEncoder("lindoc-small", load_weights(weights), WordPieceTokenizer(tokenizer), "", device)


def measure(prepared: Prepared, encoder: Encoder) -> dict[str, dict[str, float]]:
    """Figures by set and system."""
    rows: dict[str, dict[str, float]] = {}
    for name, papers in prepared.papers.items():
        scores: dict[str, list[dict[str, float]]] = {}
        for paper in papers:
            for system, spans in _of_paper(paper, PAPERS[name], prepared, encoder).items():
                summary = " ".join(paper.text[a:b] for a, b in spans)
                scores.setdefault(system, []).append(best_rouge(summary, paper.references))
        for system, each in scores.items():
            rows[f"{name} {system}"] = {m: float(np.mean([one[m] for one in each])) for m in MEASURES}
    recalls: dict[str, list[float]] = {}
    for meeting in prepared.meetings:
        for system, recall in _of_meeting(meeting, prepared, encoder):
            recalls.setdefault(system, []).append(recall)
    return rows | {f"qmsum {system}": {"recall": 100 * float(np.mean(each))} for system, each in recalls.items()}


def _of_paper(paper: Paper, count: int, prepared: Prepared, encoder: Encoder) -> dict[str, list[Span]]:
    spans = sentences(paper.text)
    chosen = {"Lead": spans[:count]}
    for name, rating in _ratings(paper.text, prepared).items():
        best = sorted(range(len(spans)), key=lambda i: (-rating[i], i))[:count]
        chosen[name] = [spans[i] for i in sorted(best)]
    with Store.open(None, encoder=encoder) as store:
        library = _library(paper.text, encoder, store)
        chosen["lindoc"] = [(one.locator.start, one.locator.end) for one in library.summarize(count)]
    return chosen


def _of_meeting(meeting: Meeting, prepared: Prepared, encoder: Encoder) -> Iterator[tuple[str, float]]:
    spans, ratings = sentences(meeting.text), _ratings(meeting.text, prepared)
    with Store.open(None, encoder=encoder) as store:
        library = _library(meeting.text, encoder, store)
        for query, gold in meeting.queries:
            budget = sum(b - a for a, b in gold)
            count = sum(any(a < end and b > start for start, end in gold) for a, b in spans)
            yield "Lead", recall(within(spans, budget), gold)
            for name, rating in ratings.items():
                order = sorted(range(len(spans)), key=lambda i: (-rating[i], i))
                yield name, recall(within([spans[i] for i in order], budget), gold)
            yield "lindoc, no query", recall(within(_ranked(library, count, budget, None), budget), gold)
            yield "lindoc", recall(within(_ranked(library, count, budget, query), budget), gold)


def _ranked(library: Library, count: int, budget: int, query: str | None) -> list[Span]:
    """The library's sentences, best first, at least `budget` characters if it gives that many."""
    while True:
        found = library.summarize(count, query)
        if sum(one.locator.end - one.locator.start for one in found) >= budget or len(found) < count:
            break
        count = 2 * count
    found = sorted(found, key=lambda one: -one.score)
    return [(one.locator.start, one.locator.end) for one in found]


def within(spans: Sequence[Span], budget: int) -> list[Span]:
    """The first of them that hold `budget` characters, the last one cut."""
    kept: list[Span] = []
    for a, b in spans:
        if budget <= 0:
            break
        kept.append((a, min(b, a + budget)))
        budget -= b - a
    return kept


def recall(chosen: Sequence[Span], gold: Sequence[Span]) -> float:
    """Share of the gold characters that lie in a chosen span; spans of one list do not overlap."""
    shared = sum(max(min(b, end) - max(a, start), 0) for a, b in chosen for start, end in gold)
    return shared / sum(end - start for start, end in gold)


def _ratings(text: str, prepared: Prepared) -> dict[str, list[float]]:
    return prepared.ratings[text].result() if prepared.ratings else {}


def _library(text: str, encoder: Encoder, store: Store) -> Library:
    document = TextDocument(text)
    library = Library(encoder, store, block=BLOCK[encoder.device.type])
    library.read_documents([Given(document, "-", lambda: document)])
    return library


def _papers(tasks: Path, name: str) -> Iterator[Paper]:
    """The title is left out on both sides."""
    for row in read_rows(tasks / name / "dev.jsonl.zst"):
        if name == "scitldr_a":
            yield Paper(" ".join(row["sentences"]), row["summaries"])
        else:
            summary = [s for s in row["summary_sentences"] if s != row["title"]]
            yield Paper(_with_paragraphs(row), [" ".join(summary)])


def _with_paragraphs(row: dict[str, Any]) -> str:
    """A blank line where a section ends."""
    text, before = "", None
    for sentence, section in zip(row["sentences"], row["sections"], strict=True):
        if sentence != row["title"]:
            text += ("" if not text else " " if section == before else "\n\n") + sentence
            before = section
    return text


def _meetings(tasks: Path) -> Iterator[Meeting]:
    for row in read_rows(tasks / "qmsum/dev.jsonl.zst"):
        turns: list[Span] = []
        text = ""
        for turn in row["turns"]:
            line = f"{turn['speaker']}: {turn['text']}\n"
            turns.append((len(text), len(text) + len(line) - 1))
            text += line
        queries = []
        for item in row["specific"]:
            numbers = {i for a, b in item["turn_spans"] for i in range(int(a), int(b) + 1) if i < len(turns)}
            if numbers:
                queries.append((item["query"], [turns[i] for i in sorted(numbers)]))
        yield Meeting(text, queries)

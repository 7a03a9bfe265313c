"""Passages re-read with the question: the best span of each, against the score of there being no answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from lindoc.core.documents import Segment
from lindoc.core.errors import UsageError
from lindoc.core.results import Answer, Evidence
from lindoc.core.search import Hit, Index, hybrid
from lindoc.core.sentences import sentences
from lindoc.core.store import Store
from lindoc.core.tasks.embed import Vector
from lindoc.core.tasks.locate import ASKS_WHERE, Place, is_code, locate
from lindoc.models.encoder import Encoder, Encoding

READER_POSITIONS = 320  # question and passage together, with three specials: what the reader was trained on
READER_SPECIALS = 3
LEAST_ROOM = 64  # positions that a question must leave for the passage
OVERLAP = 128  # tokens that neighbouring parts of a long passage share
LONGEST = 40  # tokens between the start and the end of an answer
BATCH = 8  # passages read at once
LOGIT_SCALE = 4.0  # logits of a span divided by this say how often a text that scores so does answer
THRESHOLD = 0.55  # of p(answer | passage), below which the text does not answer
RETRIEVAL_WEIGHT = 4.0  # logits that the best found passage is ahead of one that was not found
MOST_EVIDENCE = 3
CANDIDATES = 12  # passages found that are read
CODE_AMONG = 3  # first passages of which one is code, so that a question for a place is one about code
WITH_NEIGHBOURS = 4  # of these, so many with the passages before and after


@dataclass(frozen=True, slots=True)
class Found:
    """A span of a passage's text and how sure it is to answer."""

    start: int  # code points in the passage's text
    end: int
    logit: float  # of the span against there being no answer

    @property
    def score(self) -> float:
        """p(answer | passage), in [0, 1]."""
        return 1 / (1 + math.exp(-max(self.logit / LOGIT_SCALE, -700)))


def question_ids(encoder: Encoder, question: str) -> tuple[int, ...]:
    """Raises UsageError for a question without words or one that leaves too little room for a passage."""
    if not question.strip():
        raise UsageError("the question is empty")
    (encoding,) = encoder.tokenizer.encode([question])
    most = READER_POSITIONS - READER_SPECIALS - LEAST_ROOM
    if len(encoding.ids) > most:
        raise UsageError(f"the question has {len(encoding.ids)} tokens; at most {most} can be read with a passage")
    return encoding.ids


def read_passages(
    encoder: Encoder, question: Sequence[int], passages: Sequence[Encoding], per_passage: int = 1
) -> list[list[Found]]:
    """The best `per_passage` spans of each passage that do not overlap, best first. Passages of any length: longer
    ones are read in overlapping parts."""
    room = READER_POSITIONS - READER_SPECIALS - len(question)
    parts = [
        (index, begin, end)
        for index, passage in enumerate(passages)
        for begin, end in overlapping(len(passage.ids), room, min(OVERLAP, room // 2))
    ]
    found: list[list[Found]] = [[] for _ in passages]
    for at in range(0, len(parts), BATCH):
        some = parts[at : at + BATCH]
        with torch.inference_mode():
            read = encoder.answer_logits(question, [passages[index].ids[begin:end] for index, begin, end in some])
        for (index, begin, _), (start, end, no_answer) in zip(some, read, strict=True):
            offsets = passages[index].offsets
            for first, last, logit in best_spans(start, end, 4 * per_passage if per_passage > 1 else 1):
                against = float(logit - 2 * no_answer.float().reshape(()))  # start and end each face it
                found[index].append(Found(offsets[begin + first][0], offsets[begin + last][1], against))
    return [apart(spans, per_passage) for spans in found]


def overlapping(length: int, room: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Half-open parts of at most `room` that cover `length`, each sharing `overlap` with the next."""
    begin = 0
    while begin < length:
        end = min(begin + room, length)
        yield begin, end
        if end == length:
            return
        begin = end - overlap


def best_spans(start: torch.Tensor, end: torch.Tensor, count: int) -> list[tuple[int, int, torch.Tensor]]:
    """(first token, last token, start + end logit) of the best spans. start, end : (T,)"""
    length = len(start)
    pair = start.float()[:, None] + end.float()[None, :]  # (T, T)
    allowed = torch.ones_like(pair, dtype=torch.bool).triu().tril(LONGEST - 1)
    pair = pair.masked_fill(~allowed, float("-inf"))
    values, where = pair.flatten().topk(min(count, int(allowed.sum())))
    return [(at // length, at % length, value) for at, value in zip(where.tolist(), values, strict=True)]


def apart(spans: list[Found], count: int) -> list[Found]:
    """The best spans of which none overlaps a better one."""
    kept: list[Found] = []
    for span in sorted(spans, key=lambda one: (-one.logit, one.start)):
        if len(kept) < count and all(span.end <= other.start or span.start >= other.end for other in kept):
            kept.append(span)
    return kept


def quote_around(text: str, start: int, end: int) -> tuple[int, int]:
    """The sentence that holds text[start:end], or the sentences from the first to the last that it touches."""
    spans = [span for span in sentences(text) if span[0] < end and span[1] > start]
    if not spans:
        return start, end
    return min(start, spans[0][0]), max(end, spans[-1][1])


@dataclass(frozen=True, slots=True)
class Read:
    """A passage after it was read with the question."""

    key: int  # its content
    segment: Segment
    found: Found
    retrieval: float  # score in [0, 1]

    @property
    def rank(self) -> float:
        return self.found.logit + RETRIEVAL_WEIGHT * self.retrieval


def answer_from(
    encoder: Encoder,
    store: Store,
    index: Index,
    question: str,
    vector: Vector,
    place: Place,
    shown: Callable[[int, str], str],
) -> Answer:
    """Find passages, read them with the question, quote what answers it.

    vector : (D,) of the question, L2-normalised; place : verifies a quote in its source and says where it stands;
    shown : a content's text as a person should see it
    """
    ids = question_ids(encoder, question)
    hits = hybrid(store, index, question, vector, CANDIDATES)
    wants_code = bool(ASKS_WHERE.match(question))
    if wants_code and any(is_code(store, index, hit) for hit in hits[:CODE_AMONG]):
        located = locate(store, index, question, vector, hits, place)
        if located is not None:
            return located
    read = _read_candidates(encoder, store, index, ids, hits)
    sure = [one for one in read if one.found.score >= THRESHOLD]
    if not sure:
        located = locate(store, index, question, vector, hits, place) if wants_code else None
        return located or Answer(question, False, "", read[0].found.score if read else 0.0, _evidence(read, place))
    best = sure[0]
    text = shown(best.key, best.segment.text[best.found.start : best.found.end])
    return Answer(question, True, " ".join(text.split()), best.found.score, _evidence(sure, place))


def _read_candidates(
    encoder: Encoder, store: Store, index: Index, ids: Sequence[int], hits: Sequence[Hit]
) -> list[Read]:
    """The passages found, the neighbours of the best and the heads of their documents, which say what these are; the
    surest first."""
    retrieved = {hit.position: hit.score for hit in hits}
    for hit in hits[:WITH_NEIGHBOURS]:
        for position in (*index.neighbours(hit.position), index.head(hit.position)):
            retrieved.setdefault(position, 0.0)
    rows = [int(index.rows[position]) for position in retrieved]
    spans = read_passages(encoder, ids, [store.encoding(row) for row in rows])
    read = []
    for row, found, retrieval in zip(rows, spans, retrieved.values(), strict=True):
        key, segment = store.segment(row)
        read += [Read(key, segment, best, retrieval) for best in found]
    return sorted(read, key=lambda one: -one.rank)


def _evidence(read: Sequence[Read], place: Place) -> tuple[Evidence, ...]:
    """The sentences around what was found, each different text once."""
    evidence: list[Evidence] = []
    said: set[str] = set()
    for one in read:
        if len(evidence) == MOST_EVIDENCE:
            break
        start, end = quote_around(one.segment.text, one.found.start, one.found.end)
        quote, begin = one.segment.text[start:end], one.segment.start
        plain = " ".join(quote.lower().split())
        if plain not in said:
            said.add(plain)
            where = place(one.key, one.segment, begin + start, begin + end)
            evidence.append(Evidence(where, quote, one.found.score))
    return tuple(evidence)

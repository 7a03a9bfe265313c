"""The labelled sets as documents of segments with queries. The segmentation is fixed so that figures compare."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

SEGMENT_CHARS = 520


@dataclass
class LabelledDocument:
    segments: list[str]
    title: str = ""
    queries: list[tuple[str, list[int]]] = field(default_factory=list)  # text, indexes of the gold segments
    more_queries: list[tuple[str, list[int]]] = field(default_factory=list)  # for training only
    spans: list[tuple[str, int, int, int]] = field(default_factory=list)  # question, segment, start, end (in segment)
    unanswerable: list[str] = field(default_factory=list)  # questions that no segment answers
    kind: str = ""  # of a set that mixes several


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a .jsonl.zst file."""
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor(max_window_size=2**31).stream_reader(file)
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            yield json.loads(line)


def split_text(text: str, limit: int = SEGMENT_CHARS) -> list[str]:
    """Whole lines joined up to `limit` characters; longer lines are cut at a sentence, then a word, then anywhere.
    The pieces concatenate to the text, apart from blank ones."""
    segments: list[str] = []
    current = ""

    def close(piece: str) -> None:
        if piece.strip():
            segments.append(piece)

    for line in re.split(r"(?<=\n)", text):
        while len(line) > limit:
            close(current)
            current = ""
            cut = max(line.rfind(". ", 200, limit) + 1, 0) or max(line.rfind(" ", 200, limit), 0) or limit
            close(line[:cut])
            line = line[cut:]
        if len(current) + len(line) > limit:
            close(current)
            current = ""
        current += line
    close(current)
    return segments


def segment_starts(text: str, segments: list[str]) -> list[int]:
    """Start of each segment in the text (blank stretches between segments are skipped)."""
    starts, position = [], 0
    for segment in segments:
        position = text.index(segment, position)
        starts.append(position)
        position += len(segment)
    return starts


def _touching(starts: list[int], segments: list[str], start: int, end: int) -> list[int]:
    return [i for i, s in enumerate(starts) if s < end and s + len(segments[i]) > start]


def _add_span(document: LabelledDocument, starts: list[int], question: str, start: int, end: int) -> None:
    """Keep the answer for the reader where it lies within one segment."""
    for i in _touching(starts, document.segments, start, end):
        if starts[i] <= start and end <= starts[i] + len(document.segments[i]):
            document.spans.append((question, i, start - starts[i], end - starts[i]))


def squad(path: Path) -> list[LabelledDocument]:
    """Wikipedia articles by paragraph. Each question is asked bare (even indexes) and with the title (odd ones)."""
    documents = []
    for row in read_rows(path):
        starts = [a for a, _ in row["paragraph_spans"]]
        document = LabelledDocument([row["context"][a:b] for a, b in row["paragraph_spans"]], row["title"])
        for qa in row["qas"]:
            if not qa["answers"]:
                continue
            start = qa["answers"][0]["start"]
            gold = [i for i, (a, b) in enumerate(row["paragraph_spans"]) if a <= start < b]
            if gold:
                document.queries += [(qa["question"], gold), (f"{row['title']}: {qa['question']}", gold)]
                _add_span(document, starts, qa["question"], start, start + len(qa["answers"][0]["text"]))
        documents.append(document)
    return documents


def cuad(path: Path) -> list[LabelledDocument]:
    """Contracts; "‹clause› in the ‹document name› of ‹parties›" names what only the contract's head says."""
    documents = []
    for row in read_rows(path):
        by_category = {qa["category"]: qa for qa in row["qas"]}
        document = LabelledDocument(split_text(row["context"]), row["title"])
        starts = segment_starts(row["context"], document.segments)
        parties = [a["text"] for a in by_category["Parties"]["answers"]] if "Parties" in by_category else []
        parties = sorted((p for p in parties if 5 < len(p) < 60), key=len, reverse=True)[:2]
        name_answers = by_category["Document Name"]["answers"] if "Document Name" in by_category else []
        name = name_answers[0]["text"][:60] if name_answers else "agreement"
        for qa in row["qas"]:
            if not qa["answers"]:
                document.unanswerable.append(qa["question"])
            for answer in qa["answers"]:
                _add_span(document, starts, qa["question"], answer["start"], answer["start"] + len(answer["text"]))
            if qa["category"] in ("Parties", "Document Name"):
                continue
            spans = [(a["start"], a["start"] + len(a["text"])) for a in qa["answers"]]
            gold = sorted({i for a, b in spans for i in _touching(starts, document.segments, a, b)})
            if gold:
                document.queries.append((f"{qa['category']} in the {name} of {' and '.join(parties)}", gold))
        documents.append(document)
    return documents


def evidence_inference(path: Path) -> list[LabelledDocument]:
    """Full biomedical papers; a question about an outcome -> the segments with the cited evidence."""
    documents = []
    for row in read_rows(path):
        document = LabelledDocument(split_text(row["context"]), row["title"])
        starts = segment_starts(row["context"], document.segments)
        for qa in row["qas"]:
            spans = [(a["start"], a["start"] + len(a["text"])) for a in qa["answers"]]
            gold = sorted({i for a, b in spans for i in _touching(starts, document.segments, a, b)})
            if gold:
                document.queries.append((qa["question"], gold))
            for a, b in spans[:1]:
                _add_span(document, starts, qa["question"], a, b)
        documents.append(document)
    return documents


def _turn_segments(turns: list[dict[str, str]]) -> tuple[list[str], list[int]]:
    """Runs of turns of about SEGMENT_CHARS characters, and the first segment of each turn (plus the last segment)."""
    segments: list[str] = []
    first_of_turn: list[int] = []
    current = ""
    for turn in turns:
        text = f"{turn['speaker']}: {turn['text']}\n"
        if current and len(current) + len(text) > SEGMENT_CHARS:
            segments.append(current)
            current = ""
        first_of_turn.append(len(segments))
        current += text
        while len(current) > 700:
            segments.append(current[:600])
            current = current[600:]
    if current:
        segments.append(current)
    return segments, [*first_of_turn, len(segments) - 1]


def qmsum(path: Path) -> list[LabelledDocument]:
    """Meetings; a query -> the segments of the turns that answer it; more: its answer, and a topic -> its turns."""
    documents = []
    for row in read_rows(path):
        segments, turn = _turn_segments(row["turns"])
        document = LabelledDocument(segments)

        def gold(turn_spans: list[list[int]], turn: list[int] = turn, count: int = len(segments)) -> list[int]:
            spans = [(turn[int(a)], turn[min(int(b) + 1, len(turn) - 1)]) for a, b in turn_spans]
            return sorted({i for a, b in spans for i in range(a, b + 1) if i < count})

        for item in row["specific"]:
            if found := gold(item["turn_spans"]):
                document.queries.append((item["query"], found))
                document.more_queries.append((item["answer"], found))
        for item in row["topics"]:
            if found := gold(item["turn_spans"]):
                document.more_queries.append((item["topic"], found))
        documents.append(document)
    return documents


def crd3(path: Path) -> list[LabelledDocument]:
    """Very long transcripts; a sentence of the summary -> the segments of its turns."""
    documents = []
    for row in read_rows(path):
        turns = [{"speaker": t["speaker"], "text": t["text"]} for t in row["turns"]]
        segments, turn = _turn_segments(turns)
        document = LabelledDocument(segments)
        for chunk in row["chunks"]:
            a, b = chunk["turn_span"]
            if b + 1 < len(turn) and chunk["summary"]:
                gold = list(range(turn[a], turn[b + 1] + 1))
                if len(gold) <= 12:
                    document.queries.append((chunk["summary"], gold))
        documents.append(document)
    return documents


READERS = {"squad": squad, "cuad": cuad, "evidence": evidence_inference, "qmsum": qmsum, "crd3": crd3}
FILES = {
    "squad": "squad_article/{}_v1",
    "cuad": "cuad/{}",
    "evidence": "evidence_inference2/{}",
    "qmsum": "qmsum/{}",
    "crd3": "crd3/{}",
}


def load(tasks: Path, name: str, split: str) -> list[LabelledDocument]:
    """The documents of a set's `train` or `dev` split under the folder `tasks`."""
    return READERS[name](tasks / (FILES[name].format(split) + ".jsonl.zst"))

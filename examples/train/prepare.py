"""Tokenize everything once: corpus and labelled sets -> one flat token array and index arrays, in one .npz file.

    python -m examples.train.prepare --tasks DATA/tasks --shards DATA/pretrain/shard-01.jsonl.zst \
        --tokenizer tokenizer.json --out prepared.npz

Texts become (offset, length) pairs into the flat array, without [CLS] and [SEP]. Documents are runs of segments.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from examples.evaluate.runner import load_tokenizer
from examples.evaluate.sets import LabelledDocument, load, read_rows, split_text

MAX_TOKENS = 254  # a window of 256 less [CLS] and [SEP]
CORPUS_CHARS = 120_000  # of one document; longer ones give several stretches
NAMED = re.compile(r"[A-Z\d]")  # how a name or a number begins
CLAUSES = Path(__file__).with_name("clauses.json")  # category of CUAD -> the same asked as a user would
PAIR_SETS = ("citance_to_paper", "medquad", "tldr_pages", "nl2bash", "python_docstrings")


class Builder:
    """Collects token lists and named index arrays."""

    def __init__(self, tokenizer: Path):
        self.tokenizer = load_tokenizer(tokenizer)
        self.flat: list[np.ndarray] = []
        self.size = 0
        self.arrays: dict[str, np.ndarray] = {}

    def add_texts(self, texts: list[str], limit: int = MAX_TOKENS) -> np.ndarray:
        """(len(texts), 2) offsets and lengths of the texts' first `limit` tokens."""
        spans = np.zeros((len(texts), 2), np.int64)
        for begin in range(0, len(texts), 50_000):
            encodings = self.tokenizer.encode_batch_fast(texts[begin : begin + 50_000], add_special_tokens=False)
            for i, encoding in enumerate(encodings):
                ids = np.asarray(encoding.ids[:limit], np.uint16)
                spans[begin + i] = self.size, len(ids)
                self.flat.append(ids)
                self.size += len(ids)
        return spans

    def add_documents(self, name: str, documents: list[LabelledDocument]) -> None:
        """Segments, queries with their gold segments, and answer spans in tokens of their segment."""
        first = np.cumsum([0] + [len(d.segments) for d in documents])
        self.arrays[f"{name}.documents"] = np.stack([first[:-1], np.diff(first)], 1)  # (D, 2) first segment, count
        self.arrays[f"{name}.segments"] = self.add_texts([s for d in documents for s in d.segments])
        self.arrays[f"{name}.titles"] = self.add_texts([d.title for d in documents], 24)
        queries = [(i, text, gold) for i, d in enumerate(documents) for text, gold in d.queries + d.more_queries]
        self.arrays[f"{name}.queries"] = self.add_texts([text for _, text, _ in queries], 62)
        self.arrays[f"{name}.query_document"] = np.array([i for i, _, _ in queries], np.int64)
        gold = [(q, first[i] + g) for q, (i, _, gs) in enumerate(queries) for g in gs]
        self.arrays[f"{name}.gold"] = np.array(gold, np.int64).reshape(-1, 2)  # query, segment
        if any(d.spans for d in documents):
            self._add_spans(name, documents, first)
        print(name, len(documents), "documents", first[-1], "segments", len(queries), "queries", flush=True)

    def _add_spans(self, name: str, documents: list[LabelledDocument], first: np.ndarray) -> None:
        spans = [(first[i] + s, q, a, b) for i, d in enumerate(documents) for q, s, a, b in d.spans]
        texts = [s for d in documents for s in d.segments]
        offsets: dict[int, list[tuple[int, int]]] = {}
        needed = sorted({s for s, *_ in spans})
        for begin in range(0, len(needed), 20_000):
            part = needed[begin : begin + 20_000]
            for s, encoding in zip(
                part, self.tokenizer.encode_batch([texts[s] for s in part], add_special_tokens=False), strict=True
            ):
                offsets[s] = encoding.offsets[:MAX_TOKENS]
        rows, questions = [], []
        for s, question, a, b in spans:
            inside = [t for t, (u, v) in enumerate(offsets[s]) if v > a and u < b]
            if inside:
                rows.append((s, inside[0], inside[-1]))
                questions.append(question)
        self.arrays[f"{name}.answers"] = np.array(rows, np.int64)  # segment, first and last token
        self.arrays[f"{name}.questions"] = self.add_texts(questions, 62)
        impossible = [(i, q) for i, d in enumerate(documents) for q in d.unanswerable]
        self.arrays[f"{name}.impossible"] = self.add_texts([q for _, q in impossible], 62)
        self.arrays[f"{name}.impossible_document"] = np.array([i for i, _ in impossible], np.int64)

    def save(self, path: Path) -> None:
        np.savez(path, flat=np.concatenate(self.flat), **self.arrays)


def corpus(shard: Path, seed: int, limit: int | None) -> list[LabelledDocument]:
    """Documents of at least four segments; most segments get a weak query."""
    draw = random.Random(f"{seed} {shard.name}")
    documents = []
    for row in read_rows(shard):
        for begin in range(0, min(len(row["text"]), 3 * CORPUS_CHARS), CORPUS_CHARS):
            document = LabelledDocument(split_text(row["text"][begin : begin + CORPUS_CHARS]))
            document.title = (row["title"] or "").split("/")[-1][:80]
            if len(document.segments) < 4:
                continue
            for i, segment in enumerate(document.segments):
                if draw.random() < 0.75:
                    query, answer = weak_query(document.title, segment, draw)
                    if query:
                        document.queries.append((query, [i]))
                    if NAMED.match(answer) and segment.count(answer) == 1:
                        at = segment.index(answer)
                        document.spans.append((query, i, at, at + len(answer)))
            documents.append(document)
            if limit and len(documents) >= limit:
                return documents
    return documents


def weak_query(title: str, segment: str, draw: random.Random) -> tuple[str, str]:
    """The title with a few of the segment's words, or one of its sentences as a cloze question with its answer; "" for
    what there is not."""
    words = re.findall(r"[A-Za-z][\w-]{3,}", segment)
    if len(words) <= 8:
        return "", ""
    if draw.random() < 0.35:
        return f"{title} {' '.join(draw.sample(words, draw.randint(2, 5)))}", ""
    question, answer = cloze(draw.choice(re.split(r"(?<=[.!?])\s+|\n+", segment)).split(), draw)
    return (f"{title}: {question}" if question and draw.random() < 0.2 else question), answer


def cloze(words: list[str], draw: random.Random) -> tuple[str, str]:
    """A phrase gives way to a question word and some other words are left out (after arXiv 1906.04980)."""
    if len(words) < 6:
        return "", ""
    if len(words) > 24:
        begin = draw.randrange(len(words) - 23)
        words = words[begin : begin + 24]
    named = [i for i, w in enumerate(words) if i and NAMED.match(w)]
    at = draw.choice(named) if named and draw.random() < 0.7 else draw.randrange(len(words))
    first, end = words[at], at + draw.randint(1, 3)
    if at in named:  # the whole name or number
        end = at + 1
        while end in named and not words[end - 1].endswith((",", ".", ";", ":")):
            end += 1
    if first[0].isdigit():
        ask = draw.choice(("when", "what year") if re.match(r"1\d{3}|20\d\d", first) else ("how many", "how much"))
    else:
        ask = draw.choice(("who", "what", "which", "where") if first[0].isupper() else ("what", "how", "what kind of"))
    kept = [w for i, w in enumerate(words) if not at <= i < end and draw.random() < 0.75]
    if len(kept) <= 3:
        return "", ""
    return f"{ask} {' '.join(kept)}?", " ".join(words[at:end]).strip(".,;:!?()[]\"'“”’")


def ask_plainly(documents: list[LabelledDocument], rows: Iterable[dict[str, Any]], draw: random.Random) -> None:
    """CUAD's questions once more as a user would ask them, answerable and not."""
    plain = json.loads(CLAUSES.read_text(encoding="utf-8"))
    plain = {category.lower(): questions for category, questions in plain.items()}
    asked = {qa["question"]: plain[qa["category"].lower()] for row in rows for qa in row["qas"]}
    for document in documents:
        document.spans += [(draw.choice(asked[question]), *place) for question, *place in document.spans]
        document.unanswerable += [draw.choice(asked[question]) for question in document.unanswerable]


def summaries(tasks: Path) -> tuple[list[LabelledDocument], list[list[tuple[int, int, int, float]]]]:
    """Papers as documents of segments made of whole sentences, and per paper (segment, start, end, label) rows.

    The label says that the human summary holds the sentence (scisummnet: word overlap, scitldr: the given oracle).
    """
    documents, labels = [], []
    rows = [(r["sentences"], _scisumm_labels(r)) for r in read_rows(tasks / "scisummnet/train.jsonl.zst")]
    rows += [(r["sentences"], r["extract_labels"]) for r in read_rows(tasks / "scitldr_a/train.jsonl.zst")]
    for sentences, marks in rows:
        document, row, current, spans = LabelledDocument([]), [], "", []
        for sentence, mark in zip([*sentences, ""], [*marks, 0], strict=True):
            if current and (len(current) + len(sentence) > 700 or not sentence):
                row += [(len(document.segments), a, b, m) for a, b, m in spans]
                document.segments.append(current)
                current, spans = "", []
            spans.append((len(current), len(current) + len(sentence), float(mark)))
            current += sentence + " "
        documents.append(document)
        labels.append(row)
    return documents, labels


def _scisumm_labels(row: dict) -> list[float]:
    summary = [set(re.findall(r"\w+", s.lower())) for s in row["summary_sentences"][1:]]
    marks = []
    for sentence in row["sentences"]:
        words = set(re.findall(r"\w+", sentence.lower()))
        best = max((len(words & s) / len(words | s) for s in summary if s), default=0.0) if len(words) > 3 else 0.0
        marks.append(1.0 if best > 0.5 else 0.0)
    return marks


def add_summaries(builder: Builder, tasks: Path) -> None:
    documents, labels = summaries(tasks)
    builder.add_documents("salience", documents)
    first = builder.arrays["salience.documents"][:, 0]
    texts = [s for d in documents for s in d.segments]
    encodings = builder.tokenizer.encode_batch(texts, add_special_tokens=False)
    rows = []
    for i, row in enumerate(labels):
        for segment, a, b, mark in row:
            offsets = encodings[first[i] + segment].offsets[:MAX_TOKENS]
            inside = [t for t, (u, v) in enumerate(offsets) if v > a and u < b]
            if len(inside) > 2:
                rows.append((first[i] + segment, inside[0], inside[-1] + 1, mark))
    builder.arrays["salience.sentences"] = np.array(rows, np.float32)  # segment, token span (half-open), label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--shards", type=Path, nargs="+", required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="corpus documents a shard, for a trial")
    args = parser.parse_args()
    start = time.time()
    builder = Builder(args.tokenizer)
    for name in ("squad", "cuad", "evidence", "qmsum", "crd3"):
        labelled = load(args.tasks, name, "train")
        if name == "cuad":
            ask_plainly(labelled, read_rows(args.tasks / "cuad/train.jsonl.zst"), random.Random(args.seed))
        builder.add_documents(name, labelled)
    add_summaries(builder, args.tasks)
    pairs = [
        (row["query"], row["positive"])
        for name in PAIR_SETS
        for row in read_rows(args.tasks / name / "train.jsonl.zst")
        if isinstance(row.get("positive"), str)
    ]
    builder.arrays["pairs.queries"] = builder.add_texts([q for q, _ in pairs], 62)
    builder.arrays["pairs.positives"] = builder.add_texts([p for _, p in pairs], 160)
    sts = list(read_rows(args.tasks / "stsb/train.jsonl.zst"))
    builder.arrays["sts.a"], builder.arrays["sts.b"] = (builder.add_texts([r[x] for r in sts]) for x in "ab")
    builder.arrays["sts.score"] = np.array([r["score"] for r in sts], np.float32)
    with multiprocessing.Pool(len(args.shards)) as pool:
        parts = pool.starmap(corpus, [(shard, args.seed, args.limit) for shard in args.shards])
    documents = [document for part in parts for document in part]
    builder.add_documents("corpus", documents)
    draw = random.Random(args.seed)
    sentences = [re.split(r"(?<=[.!?])\s", s)[0][:300] for d in documents for s in d.segments if draw.random() < 0.25]
    builder.arrays["short.texts"] = builder.add_texts([s for s in sentences if len(s) > 20], 62)
    builder.save(args.out)
    print(f"{builder.size / 1e6:.1f}M tokens in {time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()

"""The library of what was read: every task on files is one method here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from lindoc.core.documents import Document, Locator, Segment
from lindoc.core.errors import DocumentError, UsageError
from lindoc.core.formats import Source, open_document
from lindoc.core.ingest import ReadBlock, Reading, Reports, ignore, read_blocks, sentence_table
from lindoc.core.progress import Progress, Silent
from lindoc.core.results import Answer, Embedding, Passage, SummarySentence
from lindoc.core.search import Index, hybrid, load_index
from lindoc.core.store import Content, Row, Store, path_key
from lindoc.core.tasks.answer import answer_from
from lindoc.core.tasks.embed import SIZES, Vector, normalized, pooled, text_vectors
from lindoc.core.tasks.summarize import summarize
from lindoc.models.encoder import Encoder

CHANGED = "has changed since it was read; run the command again to read it anew"


@dataclass(frozen=True, slots=True)
class Given:
    """A document that the tasks work on."""

    document: Document
    path: str  # as the store knows it
    reopen: Callable[[], Document]  # afresh from its source


class Library:
    """Reads sources through one encoder and keeps what it read in one store."""

    def __init__(
        self,
        encoder: Encoder,
        store: Store,
        *,
        password: str | None = None,
        encoding: str | None = None,
        block: int = 16,
        progress: Progress | None = None,
        on_error: Callable[[DocumentError], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ):
        self.encoder = encoder
        self.store = store
        self.password = password
        self.encoding = encoding
        self.block = block
        self.reports = Reports(progress or Silent(), on_error or ignore, on_warning or ignore)
        self._scope: dict[int, Given] = {}  # content -> document, in the order given
        self._index: Index | None = None
        self._opened: tuple[int, Document] | None = None  # the document last quoted from

    def embed(
        self,
        sources: Iterable[Source | DocumentError],
        *,
        per: Literal["segment", "document"] = "segment",
        dim: int = 384,
    ) -> Iterator[Embedding]:
        """Stream vectors of `dim` numbers, L2-normalised; nothing is kept, memory stays flat."""
        if dim not in SIZES or dim > self.encoder.dim:
            raise UsageError(f"dim {dim}: choose one of {', '.join(map(str, SIZES))}")
        if per not in ("segment", "document"):
            raise UsageError(f"per {per!r}: choose segment or document")
        spans: dict[int, tuple[Segment, Segment]] = {}  # first and last segment of a document
        readings = (Reading(key, document) for key, (_, document) in enumerate(self._documents(sources)))
        for read in read_blocks(readings, self.encoder, self.reports, block=self.block):
            for window, hidden in zip(read.block.windows, read.block.hidden, strict=True):
                reading, segment = read.readings[window.document], window.segment
                vector = pooled(self.encoder, hidden)
                if per == "segment":
                    place = segment.locate(reading.document.name, segment.start, segment.end)
                    yield Embedding(place, segment.index, segment.tokens, segment.text, normalized(vector, dim))
                else:
                    reading.mean.add(vector, segment.tokens)
                    spans[reading.key] = (spans.get(reading.key, (segment, segment))[0], segment)
            for reading in read.ended:
                if reading.key in spans and not reading.failed:
                    yield _whole(reading.document.name, *spans[reading.key], reading, dim)
                spans.pop(reading.key, None)

    def read(self, sources: Iterable[Source | DocumentError]) -> int:
        """Read what the store does not hold; returns how many documents the tasks below now work on."""
        listed = list(sources)
        if not self.store.keeps_stdin and any(isinstance(one, Source) and one.path is None for one in listed):
            self.store = Store.open(None, encoder=self.encoder)
        return self.read_documents(self._given(*opened) for opened in self._documents(listed))

    def read_documents(self, documents: Iterable[Given]) -> int:
        """The same for documents that are open."""
        self._scope, self._index, self._opened = {}, None, None
        for read in read_blocks(self._unread(documents), self.encoder, self.reports, block=self.block):
            self._keep(read)
        return len(self._scope)

    def search(self, query: str, k: int = 10) -> list[Passage]:
        """The `k` passages nearest to the query by words and meaning, best first."""
        if not query.strip():
            raise UsageError("the query is empty")
        index = self.index()
        hits = hybrid(self.store, index, query, self._query_vector(query), k)
        found = [(hit, *self.store.segment(int(index.rows[hit.position]))) for hit in hits]
        return [
            Passage(self._place(key, segment, segment.start, segment.end), segment, hit.score)
            for hit, key, segment in found
        ]

    def ask(self, question: str) -> Answer:
        """The answer with verified quotes, or that the text does not give it."""
        if not question.strip():
            raise UsageError("the question is empty")
        vector = self._query_vector(question)
        return answer_from(self.encoder, self.store, self.index(), question, vector, self._place, self._shown)

    def summarize(self, length: int | float = 5, query: str | None = None) -> list[SummarySentence]:
        """`length` sentences (or that share of them, below 1), in reading order, each verified in its source."""
        index = self.index()
        vector = None if query is None or not query.strip() else self._query_vector(query)
        chosen = summarize(self.encoder, self.store, index, list(self._scope), length, vector, self.block)
        sentences = []
        for one in chosen:
            key, segment = self.store.segment(int(index.rows[one.candidate.position]))
            start, end = segment.start + one.candidate.start, segment.start + one.candidate.end
            text = segment.text[one.candidate.start : one.candidate.end]
            sentences.append(SummarySentence(self._place(key, segment, start, end), text, one.score))
        return sentences

    def index(self) -> Index:
        """The vectors of the documents in scope, loaded once."""
        if self._index is None:
            count = sum(self.store.content(key).segments for key in self._scope)
            self._index = load_index(self.store, list(self._scope), count, self.encoder.dim)
        return self._index

    def _documents(self, sources: Iterable[Source | DocumentError]) -> Iterator[tuple[Source, Document]]:
        for source in sources:
            try:
                if isinstance(source, DocumentError):
                    raise source
                document = self._open(source)
            except DocumentError as error:
                self.reports.on_error(error)
            else:
                yield source, document

    def _open(self, source: Source) -> Document:
        return open_document(source, password=self.password, encoding=self.encoding)

    def _given(self, source: Source, document: Document) -> Given:
        path = "-" if source.path is None else path_key(str(source.path))
        return Given(document, path, lambda: self._open(source))

    def _unread(self, documents: Iterable[Given]) -> Iterator[Reading]:
        """Enters documents into the scope; yields those that the store does not hold to their end."""
        for given in documents:
            document = given.document
            suffix = os.path.splitext(document.name)[1].lower()
            reader = f"{document.kind} {suffix} {self.encoding or ''}".rstrip()
            content = self.store.begin(given.path, document.sha256, reader, document.kind)
            if content.id in self._scope:
                continue
            self._scope[content.id] = given
            if content.complete:
                for warning in content.warnings:
                    self.reports.on_warning(f"{document.name}: {warning}")
            else:
                yield self._resumed(content, document)

    def _resumed(self, content: Content, document: Document) -> Reading:
        """From where the store has it: a new document from its start, an unfinished one from its last block."""
        state = self.store.state(content.id, self.encoder.device)
        reading = Reading(content.id, document, content.segments, state, tokens=content.tokens, unknown=content.unknown)
        for _, tokens, vector in self.store.vectors(content.id):
            reading.mean.add(vector, tokens)
        return reading

    def _keep(self, read: ReadBlock) -> None:
        """One transaction for each document in the block: its segments and the state after them."""
        rows: dict[int, list[Row]] = {}
        for window, hidden in zip(read.block.windows, read.block.hidden, strict=True):
            vector = pooled(self.encoder, hidden)
            read.readings[window.document].mean.add(vector, window.segment.tokens)
            table = sentence_table(self.encoder, window, hidden)
            rows.setdefault(window.document, []).append(Row(window.segment, window.encoding, vector, table))
        for key, some in rows.items():
            self.store.write(key, some, read.block.states[key])
        for reading in read.ended:
            if reading.failed or reading.mean.total is None:
                del self._scope[reading.key]
            else:
                self.store.finish(reading.key, reading.mean.vector(), reading.warnings())

    def _query_vector(self, query: str) -> Vector:
        vector: Vector = text_vectors([query], self.encoder, carry=True, block=self.block)[0]
        return vector

    def _place(self, key: int, segment: Segment, start: int, end: int) -> Locator:
        """Where canonical[start:end] stands, after it was read again from the source. Raises DocumentError."""
        document = self._source(key)
        if document.read(start, end) != segment.text[start - segment.start : end - segment.start]:
            raise DocumentError(document.name, CHANGED)
        return segment.locate(document.name, start, end)

    def _source(self, key: int) -> Document:
        """A document in scope, opened again."""
        if self._opened is None or self._opened[0] != key:
            given = self._scope[key]
            document = given.reopen()
            if document.sha256 != given.document.sha256:
                raise DocumentError(given.document.name, CHANGED)
            self._opened = key, document
        return self._opened[1]

    def _shown(self, key: int, text: str) -> str:
        return self._source(key).shown(text)


def _whole(name: str, first: Segment, last: Segment, reading: Reading, dim: int) -> Embedding:
    """A document's vector and its place from the first segment to the last."""
    begins = first.locate(name, first.start, first.end)
    ends = last.locate(name, last.start, last.end)
    place = replace(begins, end=ends.end, page_end=ends.page_end, line_end=ends.line_end, message_end=ends.message_end)
    return Embedding(place, None, reading.tokens, first.text, reading.mean.vector(dim))

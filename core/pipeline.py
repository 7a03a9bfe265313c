"""The library of what was read: every task on files is one method here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Literal

from lindoc.core.documents import Document, Locator, Segment
from lindoc.core.errors import DocumentError, UsageError
from lindoc.core.formats import Source, open_document
from lindoc.core.formats.reading import Before
from lindoc.core.ingest import Reports, ignore
from lindoc.core.keeper import Entered, Given, Keeper, Stretch
from lindoc.core.progress import Progress, Silent
from lindoc.core.results import Answer, Embedding, Passage, SummarySentence, Updated
from lindoc.core.search import Index, hybrid, load_index
from lindoc.core.shelf import Scoped, shelved
from lindoc.core.store import Store, path_key
from lindoc.core.tasks.answer import answer_from
from lindoc.core.tasks.embed import SIZES, Vector, normalized, text_vectors
from lindoc.core.tasks.summarize import summarize
from lindoc.models.encoder import Encoder

CHANGED = "has changed since it was read; run the command again to read it anew"
NO_TEXT = "has no text to read"


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
        self._clear_scope()

    def _clear_scope(self) -> None:
        """The tasks work on nothing yet."""
        self._scope: dict[int, Scoped] = {}  # content -> document, in the order given
        self._index: Index | None = None
        self._opened: tuple[int, Document] | None = None  # the document last quoted from

    def embed(
        self,
        sources: Iterable[Source | DocumentError],
        *,
        per: Literal["segment", "document"] = "segment",
        dim: int = 384,
    ) -> Iterator[Embedding]:
        """Stream vectors of `dim` numbers, L2-normalised, in the order of the sources. What is read is kept, what the
        store holds is not encoded again, and memory stays flat."""
        if dim not in SIZES or dim > self.encoder.dim:
            raise UsageError(f"dim {dim}: choose one of {', '.join(map(str, SIZES))}")
        if per not in ("segment", "document"):
            raise UsageError(f"per {per!r}: choose segment or document")
        for private, run in groupby(self._documents(sources), self._is_private):
            store = Store.open(None, encoder=self.encoder) if private else self.store
            for stretch in self._keeper(store).stream(run):
                if per == "segment":
                    yield from _segments(store, stretch, dim)
                elif stretch.complete:
                    yield _whole(store, stretch, dim)

    def read(self, sources: Iterable[Source | DocumentError]) -> int:
        """Read what the store does not hold; returns how many documents the tasks below now work on."""
        listed = list(sources)
        if not self.store.keeps_stdin and any(isinstance(one, Source) and one.path is None for one in listed):
            self.store = Store.open(None, encoder=self.encoder)
        return self.read_documents(self._documents(listed))

    def read_documents(self, documents: Iterable[Given]) -> int:
        """The same for documents that are open."""
        self._clear_scope()
        keeper = self._keeper(self.store)
        for _ in keeper.read(self._unread(keeper, documents)):
            pass
        self._scope = {key: given for key, given in self._scope.items() if self.store.content(key).complete}
        return len(self._scope)

    def update(self, sources: Iterable[Source | DocumentError], roots: Sequence[str]) -> Updated:
        """Bring the index up to date with what lies at these roots: what is new or changed is read, what is gone is
        removed, what fails is remembered with its reason.

        sources : all that was found there
        """
        found = list(sources)
        paths = {one.name: _key(one) for one in found if isinstance(one, Source)}
        unseen = {path_key(one.path) for one in found if isinstance(one, DocumentError)}

        def failed(error: DocumentError) -> None:
            self.store.fail(paths.get(error.path) or path_key(error.path), error.reason)
            self.reports.on_error(error)

        self._clear_scope()
        tops, held = [path_key(root) for root in roots], set(paths.values())
        telling = replace(self.reports, on_error=failed)
        keeper = self._keeper(self.store, telling)
        self.store.hold()
        try:
            self.store.register(filter(os.path.exists, tops), held)
            new = sum(one.complete for one in keeper.read(self._unread(keeper, self._documents(found, telling))))
            self.store.hold()
            removed = self.store.drop_missing(tops, held, unseen)
            listed = [one for one in self.store.listed() if one.path in held]
            for one in listed:
                if one.failure is None and not one.complete:
                    self.store.fail(one.path, NO_TEXT)
        finally:
            self.store.release()
        failures = sum(one.failure is not None or not one.complete for one in listed)
        return Updated(new, len(listed) - failures - new, removed, failures)

    def open_index(self) -> int:
        """The tasks below now work on everything the index holds; returns how many documents those are. What is stale
        is said; of a document that has only grown, the part that was read is used, others are left out."""
        self._clear_scope()
        for key, scoped in shelved(self.store, self._open, self.reports.on_warning):
            self._scope.setdefault(key, scoped)
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

    def _documents(self, sources: Iterable[Source | DocumentError], reports: Reports | None = None) -> Iterator[Given]:
        for source in sources:
            try:
                if isinstance(source, DocumentError):
                    raise source
                modified = source.modified()
                document = self._open(source)
            except DocumentError as error:
                (reports or self.reports).on_error(error)
            else:
                yield Given(document, _key(source), partial(self._open, source), modified)

    def _open(self, source: Source) -> Document:
        last = self.store.last_read(_key(source))
        before = None if last is None else Before(last.size, last.sha256, last.decisions)
        return open_document(source, password=self.password, encoding=self.encoding, before=before)

    def _is_private(self, given: Given) -> bool:
        """Whether a document is text from stdin that the store must not keep."""
        return given.path == "-" and not self.store.keeps_stdin

    def _keeper(self, store: Store, reports: Reports | None = None) -> Keeper:
        return Keeper(self.encoder, store, reports or self.reports, block=self.block)

    def _unread(self, keeper: Keeper, documents: Iterable[Given]) -> Iterator[Entered]:
        """Enters documents into the scope; yields those that the store does not hold to their end."""
        for given in documents:
            entered = keeper.enter(given)
            if entered.content.id in self._scope:
                continue
            document = given.document
            self._scope[entered.content.id] = Scoped(document.name, document.sha256, given.reopen)
            if entered.content.complete:
                keeper.warn_again(entered)
            else:
                yield entered

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
            scoped = self._scope[key]
            document = scoped.reopen()
            if scoped.sha256 is not None and document.sha256 != scoped.sha256:
                raise DocumentError(scoped.name, CHANGED)
            self._opened = key, document
        return self._opened[1]

    def _shown(self, key: int, text: str) -> str:
        return self._source(key).shown(text)


def _key(source: Source) -> str:
    return "-" if source.path is None else path_key(str(source.path))


def _segments(store: Store, stretch: Stretch, dim: int) -> Iterator[Embedding]:
    for segment, vector in store.segments(stretch.key, stretch.start, stretch.stop):
        place = segment.locate(stretch.name, segment.start, segment.end)
        yield Embedding(place, segment.index, segment.tokens, segment.text, normalized(vector, dim))


def _whole(store: Store, stretch: Stretch, dim: int) -> Embedding:
    """A document's vector and its place from the first segment to the last."""
    content = store.content(stretch.key)
    ((first, _),) = store.segments(stretch.key, 0, 1)
    ((last, _),) = store.segments(stretch.key, content.segments - 1, content.segments)
    begins = first.locate(stretch.name, first.start, first.end)
    ends = last.locate(stretch.name, last.start, last.end)
    place = replace(begins, end=ends.end, page_end=ends.page_end, line_end=ends.line_end, message_end=ends.message_end)
    return Embedding(place, None, content.tokens, first.text, store.document_vector(stretch.key, dim))

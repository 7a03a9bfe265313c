"""Documents through the encoder into a store: what it holds is not encoded again, what is new is kept block by
block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from lindoc.core.borders import Border, last_common
from lindoc.core.documents import Document
from lindoc.core.errors import DocumentError
from lindoc.core.ingest import ReadBlock, Reading, Reports, read_blocks, sentence_table
from lindoc.core.store import Content, Row, Store, Version
from lindoc.core.tasks.embed import pooled
from lindoc.models.encoder import Encoder, State


@dataclass(frozen=True, slots=True)
class Given:
    """A document that the tasks work on."""

    document: Document
    path: str  # as the store knows it
    reopen: Callable[[], Document]  # afresh from its source
    modified: int = 0  # nanoseconds, as its file said before it was opened


@dataclass(frozen=True, slots=True)
class Entered:
    """A document and what the store had of it when it was entered."""

    document: Document
    content: Content


@dataclass(frozen=True, slots=True)
class Stretch:
    """Segments `start` to `stop` (half-open) of a document, which the store now holds."""

    name: str  # of the document
    key: int  # of its content
    start: int
    stop: int
    complete: bool  # the store now holds the document to its end


class Keeper:
    """Brings documents into one store."""

    def __init__(self, encoder: Encoder, store: Store, reports: Reports, *, block: int):
        self.encoder = encoder
        self.store = store
        self.reports = reports
        self.block = block
        self._underway: set[int] = set()  # contents that are being read

    def enter(self, given: Given) -> Entered:
        """Tell the store what lies at the document's path. Of a document that has changed, what stands before the last
        border that the store has a state of and that has not changed is taken over."""
        document = given.document
        version = Version.of_document(document)
        known = self.store.known(given.path, version)
        if known is not None and known.complete:
            self.store.touch(given.path, known.id, given.modified)
            return Entered(document, known)
        self.store.hold()
        inherited = None
        if known is None and (before := self.store.before(given.path, version)) is not None:
            with suppress(DocumentError):  # which reading it will report
                border = last_common(document.pieces(), self.store.borders(before))
                inherited = (before, border) if border is not None else None
        content = self.store.begin(given.path, version, modified=given.modified, inherited=inherited)
        return Entered(document, content)

    def stream(self, documents: Iterable[Given]) -> Iterator[Stretch]:
        """Everything of the documents, in order: what the store holds of one, then what is read of it."""
        for fresh, run in groupby(map(self.enter, documents), self._is_fresh):
            if fresh:
                yield from self.read(run)
                continue
            for entered in run:
                content = self.store.content(entered.content.id)
                yield Stretch(entered.document.name, content.id, 0, content.segments, content.complete)
                if content.complete:
                    self.warn_again(entered)
                else:
                    yield from self.read([Entered(entered.document, content)])

    def read(self, entered: Iterable[Entered]) -> Iterator[Stretch]:
        """Encode and keep what the store does not hold of the documents; stretches come block by block."""
        try:
            for read in read_blocks(map(self._resumed, entered), self.encoder, self.reports, block=self.block):
                yield from self._keep(read)
        finally:
            self.store.release()

    def warn_again(self, entered: Entered) -> None:
        """Say what was noticed when the document was read."""
        for warning in entered.content.warnings:
            self.reports.on_warning(f"{entered.document.name}: {warning}")

    def _is_fresh(self, entered: Entered) -> bool:
        """Whether nothing of it is in the store or on its way there, so that it may share a block with those before."""
        return not entered.content.segments and entered.content.id not in self._underway

    def _resumed(self, entered: Entered) -> Reading:
        """From where the store has it: a new document from its start, an unfinished one from its last block."""
        content = entered.content
        self.store.hold()
        after = self.store.border(content.id, content.segments)
        state = self.store.state(content.id, content.segments, self.encoder.device)
        reading = Reading(content.id, entered.document, after, state)
        reading.tokens, reading.unknown = content.tokens, content.unknown
        for _, tokens, vector in self.store.vectors(content.id):
            reading.mean.add(vector, tokens)
        self._underway.add(content.id)
        return reading

    def _keep(self, read: ReadBlock) -> list[Stretch]:
        """The block's segments are written, those of one document in one transaction."""
        rows: dict[int, list[Row]] = {reading.key: [] for reading in read.readings}
        after: dict[int, Border | None] = {}
        for window, hidden in zip(read.block.windows, read.block.hidden, strict=True):
            table = sentence_table(self.encoder, window, hidden)
            row = Row(window.segment, window.encoding, pooled(self.encoder, hidden), table, window.border)
            rows[window.document].append(row)
            after[window.document] = window.after
        states = read.block.states
        return [
            self._write(reading, rows[reading.key], states.get(reading.key), after.get(reading.key))
            for reading in read.readings
        ]

    def _write(self, reading: Reading, rows: list[Row], state: State, after: Border | None) -> Stretch:
        for row in rows:
            reading.mean.add(row.vector, row.segment.tokens)
        if reading.ended:
            self._underway.discard(reading.key)
        complete = reading.ended and not reading.failed and reading.mean.total is not None
        if complete:
            self.store.finish(reading.key, rows, reading.mean.pooled(), reading.warnings())
        elif rows and after is not None:
            self.store.write(reading.key, rows, state, after)
        start, stop = (rows[0].segment.index, rows[-1].segment.index + 1) if rows else (0, 0)
        return Stretch(reading.document.name, reading.key, start, stop, complete)

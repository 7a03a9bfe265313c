"""A document's state as a file: saved, appended to and forked; what comes after it costs only its own reading.

The last segment of a text is open until more comes. So a file holds two states: at the border before the last segment,
from which a grown document is read on, and after it, from which other texts are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lindoc.core.borders import Border, last_common
from lindoc.core.documents import Decisions, Document
from lindoc.core.errors import DocumentError
from lindoc.core.formats import Source, open_document
from lindoc.core.formats.reading import Before
from lindoc.core.results import Embedding
from lindoc.core.store import Store, Version
from lindoc.core.stream import document_windows, encode_stream
from lindoc.core.tasks.embed import Mean, normalized, pooled
from lindoc.models.encoder import Encoder, State

SPLITS_ANEW = (
    "now ends its segments elsewhere than when its state was saved (its last line was not complete); save it anew"
)


@dataclass(frozen=True, slots=True)
class Point:
    """What is known after some of a document's segments."""

    border: Border | None = None  # where that is; None is the start of the document
    state: State = None
    mean: Mean = field(default_factory=Mean)
    tokens: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class SavedState:
    """The state of a document and of those read before it as one."""

    document: str
    sha256: str  # of its bytes
    size: int
    decisions: Decisions
    open: Point  # before its last segment
    end: Point  # after it; the border is that before it
    segments: int  # of the document
    earlier: tuple[str, ...] = ()  # documents before it


def save_state(source: Source, encoder: Encoder, store: Store | None = None, *, block: int = 16) -> SavedState:
    """Read a document to its end, from the last state of it that the store keeps. Raises DocumentError."""
    document = open_document(source)
    return _read(document, encoder, _kept(document, encoder, store), (), block)


def append_state(saved: SavedState, source: Source, encoder: Encoder, *, block: int = 16) -> SavedState:
    """The state after more text. If the source begins with the document that was saved, it is this document, grown;
    else it is one that follows. `saved` stays as it is."""
    if not source.begins_with(saved.size, saved.sha256):
        start = Point(None, saved.end.state, saved.end.mean, saved.end.tokens, saved.end.unknown)
        return _read(open_document(source), encoder, start, (*saved.earlier, saved.document), block)
    document = open_document(source, before=Before(saved.size, saved.sha256, saved.decisions))
    border = saved.open.border
    if border is not None and last_common(document.pieces(), [border]) != border:
        raise DocumentError(source.name, SPLITS_ANEW)
    return _read(document, encoder, saved.open, saved.earlier, block)


def fork_state(
    saved: SavedState, source: Source, encoder: Encoder, *, dim: int, block: int = 16
) -> Iterator[Embedding]:
    """Vectors of the segments of a text that is read after the saved document."""
    document = open_document(source)
    windows = document_windows(0, document, encoder)
    for encoded in encode_stream(windows, encoder, block=block, states={0: saved.end.state}):
        for window, hidden in zip(encoded.windows, encoded.hidden, strict=True):
            segment, vector = window.segment, normalized(pooled(encoder, hidden), dim)
            place = segment.locate(document.name, segment.start, segment.end)
            yield Embedding(place, segment.index, segment.tokens, segment.text, vector)


def _kept(document: Document, encoder: Encoder, store: Store | None) -> Point:
    key = None if store is None else store.holding(Version.of_document(document))
    borders = [] if store is None or key is None else store.borders(key)
    if store is None or key is None or not borders:
        return Point()
    point = Point(borders[-1], store.state(key, borders[-1].segments, encoder.device))
    mean, tokens, unknown = Mean(), 0, 0
    for count, missed, vector in store.counted(key, borders[-1].segments):
        mean.add(vector, count)
        tokens, unknown = tokens + count, unknown + missed
    return replace(point, mean=mean, tokens=tokens, unknown=unknown)


def _read(document: Document, encoder: Encoder, start: Point, earlier: tuple[str, ...], block: int) -> SavedState:
    before = now = start
    count = 0 if start.border is None else start.border.segments
    windows = document_windows(0, document, encoder, start.border)
    for encoded in encode_stream(windows, encoder, block=block, states={0: start.state}):
        last = encoded.windows[-1]
        before, mean = now, Mean(now.mean.total, now.mean.weight)
        for window, hidden in zip(encoded.windows, encoded.hidden, strict=True):
            mean.add(pooled(encoder, hidden), window.segment.tokens)
        tokens = now.tokens + sum(window.segment.tokens for window in encoded.windows)
        unknown = now.unknown + sum(window.encoding.unknown for window in encoded.windows)
        now = Point(last.after or now.border, encoded.states[0], mean, tokens, unknown)
        count = last.segment.index + 1
    if not count:
        raise DocumentError(document.name, "holds no text")
    return SavedState(document.name, *Version.of_document(document), before, now, count, earlier)

"""Sources to encoded blocks: documents are opened, cut into segments and streamed through the encoder; one that
fails is reported and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from lindoc.core.borders import Border
from lindoc.core.documents import Document
from lindoc.core.errors import DocumentError
from lindoc.core.progress import Progress, Silent, unknown_hints
from lindoc.core.sentences import sentences
from lindoc.core.stream import STATE_EVERY, Block, Window, document_windows, encode_stream
from lindoc.core.tasks.embed import Mean
from lindoc.models.encoder import Encoder, State


def ignore(_: object) -> None:
    """Reports nothing."""


@dataclass(frozen=True, slots=True)
class Reports:
    """Where reading says what it did."""

    progress: Progress = field(default_factory=Silent)
    on_error: Callable[[DocumentError], None] = ignore
    on_warning: Callable[[str], None] = ignore


@dataclass(slots=True)
class Reading:
    """One document on its way through the encoder."""

    key: int
    document: Document
    after: Border | None = None  # what stands before it need not be encoded again
    state: State = None  # at that border
    mean: Mean = field(default_factory=Mean)  # of the windows' vectors
    tokens: int = 0
    unknown: int = 0
    bytes_done: int = 0
    ended: bool = False  # all its windows have been handed to the encoder
    failed: bool = False

    def warnings(self) -> list[str]:
        """What its reader noticed, and a hint if the model does not know its language."""
        report = self.document.report
        return [*report.warnings, *report.failures, *unknown_hints(self.tokens, self.unknown)]


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """One encoded block and the documents that its windows are of, or that ended without any; in order."""

    block: Block
    readings: tuple[Reading, ...]


def read_blocks(
    readings: Iterable[Reading], encoder: Encoder, reports: Reports, *, block: int = 16
) -> Iterator[ReadBlock]:
    """Stream documents through the encoder; one document at a time is held, and one block."""
    live: dict[int, Reading] = {}
    states: dict[int, State] = {}
    for encoded in encode_stream(
        _windows(readings, live, states, encoder, reports), encoder, block=block, states=states
    ):
        for window in encoded.windows:
            _advance(live[window.document], window, reports)
        yield ReadBlock(encoded, tuple(live.values()))
        _leave(live, states, reports)
    if live:
        yield ReadBlock(Block((), (), {}), tuple(live.values()))
        _leave(live, states, reports)


def _windows(
    readings: Iterable[Reading], live: dict[int, Reading], states: dict[int, State], encoder: Encoder, reports: Reports
) -> Iterator[Window]:
    for reading in readings:
        live[reading.key] = reading
        states[reading.key] = reading.state
        document = reading.document
        reports.progress.start(document.name, document.size)
        try:
            yield from document_windows(reading.key, document, encoder, reading.after, open_from=STATE_EVERY)
        except DocumentError as error:
            reading.failed = True
            reports.on_error(error)
        reading.ended = True


def _advance(reading: Reading, window: Window, reports: Reports) -> None:
    reading.tokens += window.segment.tokens
    reading.unknown += window.encoding.unknown
    size = min(len(window.segment.text.encode("utf-8", "replace")), reading.document.size - reading.bytes_done)
    reading.bytes_done += size
    reports.progress.advance(size, window.segment.tokens)


def _leave(live: dict[int, Reading], states: dict[int, State], reports: Reports) -> None:
    """Let go of the documents that have ended."""
    for reading in [reading for reading in live.values() if reading.ended]:
        del live[reading.key], states[reading.key]
        for warning in [] if reading.failed else reading.warnings():
            reports.on_warning(f"{reading.document.name}: {warning}")


def sentence_table(encoder: Encoder, window: Window, hidden: torch.Tensor) -> NDArray[np.float32]:
    """(S, 3): start and end in the segment's text and salience in [0, 1] of a window's sentences.
    hidden : (T, D), specials included"""
    offsets = np.array(window.encoding.offsets).reshape(-1, 2)
    found, spans = [], []
    for start, end in sentences(window.segment.text):
        inside = np.flatnonzero((offsets[:, 0] < end) & (offsets[:, 1] > start))
        if len(inside):
            found.append((start, end))
            spans.append((int(inside[0]) + 1, int(inside[-1]) + 2))  # [CLS] is at 0
    if not found:
        return np.zeros((0, 3), np.float32)
    salience = torch.sigmoid(encoder.salience_logits(hidden, spans).float()).cpu().numpy()
    return np.column_stack([np.array(found), salience]).astype(np.float32)

"""The one loop that carries state: windows in reading order -> blocks -> hidden states per window.

Windows of several documents may follow one another; each document has its own state, and none is kept after its
last window. Nothing is held but the open block and one state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from lindoc.core.borders import Border, Borders
from lindoc.core.documents import Document, Segment
from lindoc.core.errors import DocumentError, LindocError
from lindoc.core.segments import segments
from lindoc.models.encoder import Encoder, Encoding, State

SPECIALS = 2  # [CLS] and [SEP] of a window
STATE_EVERY = 512  # segments of a document from one state that stays on disk to the next


@dataclass(frozen=True, slots=True)
class Window:
    """One segment as the encoder sees it."""

    document: int  # key of its document, unique within a stream
    segment: Segment
    encoding: Encoding
    border: bool = False  # a block begins with it, so that the state before it can be had
    after: Border | None = None  # the border after it, None if nothing followed


@dataclass(frozen=True, slots=True)
class Block:
    """Windows that went through the encoder together."""

    windows: tuple[Window, ...]
    hidden: tuple[torch.Tensor, ...]  # (T_n, D) each, specials included
    states: Mapping[int, State]  # document -> its state after its last window here


def document_windows(
    key: int, document: Document, encoder: Encoder, after: Border | None = None, *, open_from: int = 0
) -> Iterator[Window]:
    """The segments of a document after a border, as windows. Blocks begin so that the states can be had that are kept:
    those after every STATE_EVERY segments and, of a document with more than `open_from`, the one before the last
    segment, which is open until more comes. Raises DocumentError, after what came before it."""
    last: Window | None = None
    borders = Borders()
    read = segments(document, encoder.tokenizer, encoder.window - SPECIALS, after=after, borders=borders)
    try:
        for segment, encoding in read:
            if last is not None:
                yield last
            border = segment.index > 0 and segment.index % STATE_EVERY == 0
            last = Window(key, segment, encoding, border, borders.latest)
    except DocumentError:
        if last is not None:
            yield replace(last, border=last.segment.index >= open_from)
        raise
    if last is not None:
        yield replace(last, border=last.segment.index >= open_from)


def encode_stream(
    windows: Iterable[Window], encoder: Encoder, *, block: int = 16, states: Mapping[int, State] | None = None
) -> Iterator[Block]:
    """Encode windows block by block, carrying each document's state from one block to the next.

    windows : in reading order, those of one document adjacent
    block : windows encoded at once, at most; a speed setting, no effect on what comes out
    states : document -> state to start from; read when its first window comes, so it may be filled meanwhile
    """
    given: Mapping[int, State] = {} if states is None else states
    carried: dict[int, State] = {}
    for batch in _batches(windows, block):
        documents = [window.document for window in batch]
        initial = {key: carried.get(key, given.get(key)) for key in documents}
        initial = {key: state for key, state in initial.items() if state is not None}
        with torch.inference_mode():
            hidden, final = encoder.encode([window.encoding.ids for window in batch], documents, initial)
        check_counts(batch, hidden)
        carried = {documents[-1]: final[documents[-1]]}
        yield Block(batch, tuple(hidden), final)


def _batches(windows: Iterable[Window], block: int) -> Iterator[tuple[Window, ...]]:
    batch: list[Window] = []
    for window in windows:
        if len(batch) == block or (batch and window.border):
            yield tuple(batch)
            batch = []
        batch.append(window)
    if batch:
        yield tuple(batch)


def check_counts(windows: tuple[Window, ...], hidden: list[torch.Tensor]) -> None:
    """Law 1: every token that went in was encoded."""
    if len(windows) != len(hidden):
        raise LindocError(f"{len(windows)} windows went into the encoder and {len(hidden)} came out")
    for window, states in zip(windows, hidden, strict=True):
        tokens = len(states) - SPECIALS
        if not window.segment.tokens == len(window.encoding.ids) == tokens:
            raise LindocError(
                f"segment {window.segment.index}: {window.segment.tokens} tokens read, "
                f"{len(window.encoding.ids)} given to the encoder, {tokens} encoded"
            )

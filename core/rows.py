"""What the rows of the store hold, and how they are written as text and bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from lindoc.core.documents import Decisions, Document, Mark, Segment
from lindoc.models.encoder import Encoding, State


class Version(NamedTuple):
    """Bytes, and how they are read."""

    sha256: str
    size: int
    decisions: Decisions

    @classmethod
    def of(cls, sha256: str, size: int, reader: str) -> Version:
        return cls(sha256, size, Decisions(*json.loads(reader)))

    @classmethod
    def of_document(cls, document: Document) -> Version:
        return cls(document.sha256, document.size, document.report.decisions or Decisions(document.kind))

    @property
    def reader(self) -> str:
        """The decisions as they are written."""
        return json.dumps(self.decisions)


@dataclass(frozen=True, slots=True)
class Content:
    """A text that was read, wherever it lies. `segments` counts those stored."""

    id: int
    kind: str
    complete: bool
    segments: int
    length: int  # code points up to the end of the last segment
    tokens: int
    unknown: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One segment as it is written."""

    segment: Segment
    encoding: Encoding
    vector: NDArray[np.float32]  # (D,), as pooled, not normalised
    sentences: NDArray[np.float32]  # (S, 3): start, end in the segment's text, salience in [0, 1]
    border: bool = False  # the state before it is kept for good


def dump_marks(marks: Sequence[Mark]) -> str:
    return json.dumps([astuple(mark) for mark in marks], separators=(",", ":"), ensure_ascii=False)


def load_marks(text: str) -> tuple[Mark, ...]:
    return tuple(Mark(*values) for values in json.loads(text))


def dump_encoding(encoding: Encoding) -> bytes:
    offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    return np.column_stack([np.array(encoding.ids, np.int32), offsets]).astype("<i4").tobytes()


def load_encoding(blob: bytes) -> Encoding:
    table = np.frombuffer(blob, "<i4").reshape(-1, 3)
    return Encoding(tuple(table[:, 0].tolist()), tuple((a, b) for a, b in table[:, 1:].tolist()), 0)


def load_state(blob: bytes, device: torch.device) -> State:
    return torch.load(io.BytesIO(blob), map_location=device, weights_only=True)


def dump_state(state: State) -> bytes:
    buffer = io.BytesIO()
    torch.save(_compact(state), buffer)
    return buffer.getvalue()


def _compact(state: State) -> State:
    """Without the rest of the memory that its tensors are views of, which torch.save would write too."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: _compact(part) for key, part in state.items()}
    return type(state)(map(_compact, state)) if isinstance(state, list | tuple) else state

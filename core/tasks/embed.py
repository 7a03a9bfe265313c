"""Hidden states to vectors: a segment's is its pooled window, a document's the token-weighted mean of its windows'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from lindoc.core.documents import Document, Mark, Piece, ReadReport, Segment
from lindoc.core.segments import segments
from lindoc.core.stream import SPECIALS, Window, encode_stream
from lindoc.models.encoder import Encoder

Vector = NDArray[np.float32]
SIZES = (64, 128, 256, 384)  # Matryoshka sizes the encoder is trained for


def normalized(vector: Vector, dim: int | None = None) -> Vector:
    """The leading `dim` numbers, then L2. (…, D) -> (…, dim)"""
    leading = np.asarray(vector, dtype=np.float32)[..., :dim]
    length = np.linalg.norm(leading, axis=-1, keepdims=True)
    unit: Vector = (leading / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


def pooled(encoder: Encoder, hidden: torch.Tensor) -> Vector:
    """(T, D) hidden states of one window -> (D,), not normalised."""
    vector: Vector = encoder.pool(hidden).float().cpu().numpy()
    return vector


@dataclass(slots=True)
class Mean:
    """A running token-weighted mean of windows' vectors."""

    total: NDArray[np.float64] | None = None  # (D,)
    weight: int = 0  # positions

    def add(self, vector: Vector, tokens: int) -> None:
        weight = tokens + SPECIALS
        part = vector.astype(np.float64) * weight
        self.total = part if self.total is None else self.total + part
        self.weight += weight

    def pooled(self) -> Vector:
        """(D,), not normalised."""
        if self.total is None:
            raise ValueError("the mean of no windows")
        return (self.total / self.weight).astype(np.float32)

    def vector(self, dim: int | None = None) -> Vector:
        """(dim,), L2-normalised."""
        return normalized(self.pooled(), dim)


@dataclass(slots=True)
class TextDocument:
    """A text given as one piece, as a Document."""

    text: str
    name: str = "text"
    kind: str = "text"
    sha256: str = ""
    size: int = 0
    report: ReadReport = field(default_factory=ReadReport)

    def __post_init__(self) -> None:
        self.size = len(self.text)

    def pieces(self) -> Iterator[Piece]:
        yield Piece(self.text, Mark(0))

    def read(self, start: int, end: int) -> str:
        return self.text[start:end]

    def shown(self, text: str) -> str:
        return text


def text_windows(text: str, document: int, encoder: Encoder) -> list[Window]:
    """A text of any length as consecutive windows; empty text is one window without tokens."""
    as_document: Document = TextDocument(text)
    found = [Window(document, *pair) for pair in segments(as_document, encoder.tokenizer, encoder.window - SPECIALS)]
    if found:
        return found
    (nothing,) = encoder.tokenizer.encode([""])
    return [Window(document, Segment(0, 0, "", (Mark(0),), 0), nothing)]


def text_vectors(texts: Sequence[str], encoder: Encoder, *, carry: bool, block: int = 16) -> Vector:
    """(n, D), L2-normalised: one vector a text. With `carry` the texts are one document's, in order; without, each
    starts from the empty state."""
    means = [Mean() for _ in texts]
    owners: list[int] = []

    def windows() -> Iterator[Window]:
        for index, text in enumerate(texts):
            for window in text_windows(text, 0 if carry else index, encoder):
                owners.append(index)
                yield window

    done = 0
    for encoded in encode_stream(windows(), encoder, block=block):
        for window, hidden in zip(encoded.windows, encoded.hidden, strict=True):
            means[owners[done]].add(pooled(encoder, hidden), window.segment.tokens)
            done += 1
    if not means:
        return np.zeros((0, encoder.dim), np.float32)
    return np.stack([mean.vector() for mean in means])

"""What the documents that are read line by line share."""

from __future__ import annotations

from collections.abc import Iterator

from lindoc.core.documents import Mark, Piece, ReadReport
from lindoc.core.formats.decoding import TextFile
from lindoc.core.formats.sources import Source


class LineDocument:
    """A Document over a TextFile; a subclass says how its lines make pieces."""

    kind = "text"

    def __init__(self, source: Source, text: TextFile):
        self.name = source.name
        self.size, self.sha256 = source.fingerprint()
        self.report: ReadReport = text.report
        self.text = text

    def pieces(self) -> Iterator[Piece]:
        raise NotImplementedError

    def read(self, start: int, end: int) -> str:
        """canonical[start:end], read again from the source."""
        return self.text.read(start, end)

    def shown(self, text: str) -> str:
        """Decoded text needs no repair."""
        return text


def line_piece(start: int, line: int, text: str, boundary: int) -> Piece:
    return Piece(text, Mark(start, line=line), boundary)

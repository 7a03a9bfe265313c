"""Plain text and Markdown: paragraphs, headings, fenced blocks."""

from __future__ import annotations

from collections.abc import Iterator

from lindoc.core.documents import Piece
from lindoc.core.formats.base import LineDocument, line_piece
from lindoc.core.formats.paragraphs import paragraphs


class TextDocument(LineDocument):
    kind = "text"

    def pieces(self) -> Iterator[Piece]:
        for paragraph in paragraphs(self.text.lines(), markdown=self.kind == "markdown"):
            yield line_piece(paragraph.start, paragraph.line, paragraph.text, paragraph.boundary)


class MarkdownDocument(TextDocument):
    kind = "markdown"

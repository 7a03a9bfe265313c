"""What a document is made of: pieces as the reader finds them, segments as the encoder sees them, and their places.

All offsets are half-open code-point offsets into the document's canonical text (what `lindoc inspect --text` prints).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Mark:
    """The place that begins at offset `start`: a page, a line or a message. Fields that do not apply are None."""

    start: int  # code points into the canonical text
    page: int | None = None  # physical page, from 1
    page_label: str | None = None  # what is printed on the page, where the PDF says so
    line: int | None = None  # the line that `start` is on, from 1
    message: int | None = None  # from 1
    speaker: str | None = None
    time: str | None = None  # as the log writes it


@dataclass(frozen=True, slots=True)
class Locator:
    """Where a span of text stands. Pages, lines and messages are inclusive; fields that do not apply are None."""

    document: str  # the path as given, relative to DIR under --repo, "-" for stdin
    start: int
    end: int
    page: int | None = None  # of the span's first character
    page_end: int | None = None
    page_label: str | None = None
    line_start: int | None = None
    line_end: int | None = None
    message_start: int | None = None
    message_end: int | None = None
    speaker: str | None = None  # of the span's first message
    time: str | None = None

    def as_dict(self) -> dict[str, str | int]:
        """The fields that apply, in the order of the class, ready for JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of canonical text as a reader yields it; the pieces of a document are contiguous from offset 0.

    `boundary` says how strongly the text may be cut BEFORE this piece: 0 only if a segment would grow too long,
    1 a paragraph or message border, 2 a section, page, function or file border.
    """

    text: str
    mark: Mark
    boundary: int = 1

    @property
    def start(self) -> int:
        return self.mark.start

    @property
    def end(self) -> int:
        return self.mark.start + len(self.text)

    def after(self, offset: int) -> Piece:
        """What of it stands from an offset inside it on."""
        by = offset - self.start
        line = None if self.mark.line is None else self.mark.line + self.text.count("\n", 0, by)
        return Piece(self.text[by:], replace(self.mark, start=offset, line=line), 0)


@dataclass(frozen=True, slots=True)
class Segment:
    """A natural piece of a document, at most W tokens long with [CLS] and [SEP]."""

    index: int  # from 0, within its document
    start: int
    text: str  # canonical text, canonical[start:end] == text
    marks: tuple[Mark, ...]  # ascending; the first is at or before `start`
    tokens: int = 0  # without [CLS] and [SEP]

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def locate(self, document: str, start: int, end: int) -> Locator:
        """The place of canonical[start:end], which must lie inside this segment (the page of the sentence, not of
        the segment's start)."""
        starts = [mark.start for mark in self.marks]
        first = self.marks[max(bisect_right(starts, start) - 1, 0)]
        last = self.marks[max(bisect_right(starts, max(end - 1, start)) - 1, 0)]
        return Locator(
            document=document,
            start=start,
            end=end,
            page=first.page,
            page_end=last.page,
            page_label=first.page_label,
            line_start=self._line(first, start),
            line_end=self._line(last, max(end - 1, start)),
            message_start=first.message,
            message_end=last.message,
            speaker=first.speaker,
            time=first.time,
        )

    def _line(self, mark: Mark, offset: int) -> int | None:
        if mark.line is None:
            return None
        begin = max(mark.start, self.start)  # a mark before the segment already carries the line of the segment's start
        return mark.line + self.text.count("\n", begin - self.start, offset - self.start)


class Decisions(NamedTuple):
    """How a source is read. Fields that do not apply are empty."""

    kind: str  # "pdf" | "text" | "markdown" | "code" | "chat"
    encoding: str = ""
    pattern: str = ""  # of a chat

    def __str__(self) -> str:
        detail = ", ".join(filter(None, (self.pattern, self.encoding)))
        return f"{self.kind} ({detail})" if detail else self.kind


@dataclass(slots=True)
class ReadReport:
    """What was decided of a document when it was opened, and what its reader survived or noticed, filled while it is
    read."""

    decisions: Decisions | None = None  # None where there was nothing to decide
    failures: list[str] = field(default_factory=list)  # "page 7: reason"
    warnings: list[str] = field(default_factory=list)  # "is a scan: no text on 12 of 12 pages; run OCR first"


class Document(Protocol):
    """An opened input. `pieces()` streams the canonical text and may be called again (a fresh pass)."""

    name: str  # the path as given, "-" for stdin
    kind: str  # "pdf" | "text" | "markdown" | "code" | "chat"
    size: int  # bytes, for progress
    sha256: str  # of the source bytes
    report: ReadReport

    def pieces(self) -> Iterator[Piece]:
        """Stream the canonical text, piece by piece. Raises DocumentError."""
        ...

    def read(self, start: int, end: int) -> str:
        """canonical[start:end], read again from the source."""
        ...

    def shown(self, text: str) -> str:
        """`text` of this document as a person should see it and the encoder should read it (PDF ligatures and
        line-break hyphens repaired)."""
        ...

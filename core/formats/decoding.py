"""Bytes to canonical text, streamed: BOM, then UTF-8, then charset-normalizer, else a clear error."""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from charset_normalizer import from_bytes

from lindoc.core.documents import ReadReport
from lindoc.core.errors import DocumentError
from lindoc.core.formats.sniff import bom_encoding, is_binary
from lindoc.core.formats.sources import Source, why

SNIFF = 1 << 20  # bytes that decide encoding and kind
BLOCK = 1 << 16  # bytes decoded at once
CHECKPOINT = 1 << 20  # bytes between the places from which a span is read again
MAX_LINE = 8192  # characters; a longer line is cut, at a space where it has one
RARE = (  # code pages of DOS and mainframes, which on short texts outdo what people use
    "cp037 cp273 cp424 cp437 cp500 cp720 cp737 cp775 cp850 cp852 cp855 cp856 cp857 cp858 cp860 cp861 cp862 cp863 cp864 "
    "cp865 cp866 cp869 cp875 cp1006 cp1026 cp1125 cp1140 hp_roman8 ptcp154 kz1048"
)
MAX_REPORTED = 20  # lines with undecodable bytes named in the report


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its line break, or a part of one that is too long. `number` counts from 1."""

    start: int
    number: int
    text: str
    continued: bool = False  # not the first part of its line


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    offset: int  # code points
    position: int  # bytes
    state: Any  # of the incremental decoder


class TextFile:
    """One text source under one encoding, decided from its first megabyte and kept."""

    def __init__(self, source: Source, encoding: str | None, report: ReadReport):
        self.source, self.report = source, report
        self.encoding, self.skip = _decide(source.name, source.head(SNIFF), encoding)
        self._checkpoints = [_Checkpoint(0, self.skip, codecs.getincrementaldecoder(self.encoding)().getstate())]

    def head(self) -> str:
        """The text of the first megabyte, read anew: it is not held while the file is."""
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        return decoder.decode(self.source.head(SNIFF)[self.skip :])

    def lines(self) -> Iterator[Line]:
        """All lines; memory is bounded whatever the length of a line."""
        start, number, rest, continued = 0, 1, "", False
        for block in self._blocks():
            rest += block
            position = 0
            while True:
                stop = rest.find("\n", position, position + MAX_LINE) + 1
                if not stop:
                    if len(rest) - position < MAX_LINE:
                        break
                    stop = _cut(rest, position)
                yield Line(start, number, rest[position:stop], continued)
                start += stop - position
                continued = rest[stop - 1] != "\n"
                number += not continued
                position = stop
            rest = rest[position:]
        if rest:
            yield Line(start, number, rest, continued)

    def read(self, start: int, end: int) -> str:
        """canonical[start:end], decoded again from the nearest checkpoint before it."""
        index = bisect_right(self._checkpoints, start, key=lambda checkpoint: checkpoint.offset) - 1
        parts: list[str] = []
        at = self._checkpoints[index].offset
        for block in self._blocks(index):
            if at + len(block) > start:
                parts.append(block[max(start - at, 0) : end - at])
            at += len(block)
            if at >= end:
                break
        return "".join(parts)

    def _blocks(self, first: int = 0) -> Iterator[str]:
        """Decoded text from checkpoint `first` on; checkpoints are added on the way. What cannot be decoded becomes
        U+FFFD and is named in the report."""
        begin = self._checkpoints[first]
        decoder = codecs.getincrementaldecoder(self.encoding)()
        decoder.setstate(begin.state)
        position, offset, line = begin.position, begin.offset, 1
        with self.source.opened() as handle:
            while True:
                if position >= self._checkpoints[-1].position + CHECKPOINT:
                    self._checkpoints.append(_Checkpoint(offset, position, decoder.getstate()))
                try:
                    handle.seek(position)
                    data = handle.read(BLOCK)
                except OSError as exc:
                    raise DocumentError(self.source.name, why(exc)) from exc
                text = self._decode(decoder, data, line if first == 0 else None)
                if text:
                    yield text
                if not data:
                    return
                position, offset, line = position + len(data), offset + len(text), line + text.count("\n")

    def _decode(self, decoder: codecs.IncrementalDecoder, data: bytes, line: int | None) -> str:
        before = decoder.getstate()
        decoder.errors = "strict"
        try:
            return decoder.decode(data, final=not data)
        except UnicodeError:
            decoder.setstate(before)
            decoder.errors = "replace"
            text = decoder.decode(data, final=not data)
        if line is not None and len(self.report.failures) < MAX_REPORTED:
            line += text.count("\n", 0, max(text.find("\ufffd"), 0))
            failure = f"line {line}: bytes that are not {self.encoding}, read as U+FFFD; name another with --encoding"
            if failure not in self.report.failures:
                self.report.failures.append(failure)
        return text


def _cut(text: str, position: int) -> int:
    """Where a line that is too long is cut: after the last space of its first MAX_LINE characters."""
    space = text.rfind(" ", position + MAX_LINE // 2, position + MAX_LINE)
    return space + 1 if space >= 0 else position + MAX_LINE


def _decide(name: str, head: bytes, encoding: str | None) -> tuple[str, int]:
    """Encoding and length of the byte order mark."""
    mark = bom_encoding(head)
    if encoding is not None:
        try:
            canonical = codecs.lookup(encoding).name
            codecs.getincrementaldecoder(canonical)().getstate()
        except (LookupError, TypeError, AttributeError) as exc:
            raise DocumentError(name, f"unknown encoding {encoding!r}; known: utf-8, utf-16, cp1252, …") from exc
        generic = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
        canonical = mark[0] if mark and canonical in generic else generic.get(canonical, canonical)
        return canonical, mark[1] if mark and mark[0] == canonical else 0
    if mark is not None:
        return mark
    if is_binary(head):
        raise DocumentError(name, "is binary, not text; lindoc reads PDF, text, Markdown, code and chat logs")
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(head, final=len(head) < SNIFF)
        return "utf-8", 0
    except UnicodeDecodeError:
        best = from_bytes(head, cp_exclusion=RARE.split()).best()
    if best is None or best.encoding == "utf_8":
        raise DocumentError(name, "is not valid UTF-8 and its encoding cannot be told; name it with --encoding")
    return codecs.lookup(best.encoding).name, 0

"""Borders between segments, from which reading can go on after the file has changed behind them.

A border depends on the pieces before it and on the beginning of the piece after it (see segments.py). The digest of
these says whether it stands in another version of the document too.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lindoc.core.documents import Piece


@dataclass(frozen=True, slots=True)
class Border:
    segments: int  # before it
    begin: int  # code points: the segment after it is made of the text from here on
    settle: int  # what decides that there is a border ends here
    digest: bytes  # SHA-256 of that: text, places and boundaries


@dataclass(frozen=True, slots=True)
class _Passed:
    end: int
    digest: Any  # after it


class Borders:
    """Sees the pieces of a document on their way to the segments, and knows the border after the last segment."""

    def __init__(self) -> None:
        self.latest: Border | None = None  # after the segment that came last; None at the end of the text
        self._digest = hashlib.sha256()
        self._passed: deque[_Passed] = deque()  # those that may decide a border yet

    def watched(self, pieces: Iterable[Piece], after: Border | None) -> Iterator[Piece]:
        """The pieces whose text begins after a border; without one, all."""
        begin = 0 if after is None else after.begin
        for piece in pieces:
            _update(self._digest, piece, piece.text)
            if piece.end > begin:
                self._passed.append(_Passed(piece.end, self._digest.copy()))
                yield piece if piece.start >= begin else piece.after(begin)

    def close(self, segments: int, begin: int, decider: int | None) -> None:
        """A segment ends. decider : offset of the piece that came after it, None at the end of the text"""
        if decider is None:
            self.latest = None
            return
        while self._passed[0].end <= decider:
            self._passed.popleft()
        settled = self._passed[0]
        self.latest = Border(segments, begin, settled.end, settled.digest.digest())


def last_common(pieces: Iterable[Piece], borders: Sequence[Border]) -> Border | None:
    """The last border that these pieces have too. borders : of one document, ascending"""
    found, left, digest = None, deque(borders), hashlib.sha256()
    for piece in pieces:
        while left and left[0].settle <= piece.end:
            upto = digest.copy()
            _update(upto, piece, piece.text[: left[0].settle - piece.start])
            if upto.digest() != left[0].digest:
                return found
            found = left.popleft()
        if not left:
            return found
        _update(digest, piece, piece.text)
    return found


def _update(digest: Any, piece: Piece, text: str) -> None:
    mark = piece.mark
    place = (mark.start, mark.page, mark.page_label, mark.line, mark.message, mark.speaker, mark.time, piece.boundary)
    digest.update(repr(place).encode("utf-8", "surrogatepass"))
    digest.update(text.encode("utf-8", "surrogatepass"))

"""Pieces with their tokens, and where one is cut that is too long: at a sentence, then a word, then anywhere.

A cut depends on the text before it and on there being more than fits, never on what follows, so that it stays where it
is however the text goes on.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from lindoc.core.documents import Document, Mark, Piece
from lindoc.core.errors import DocumentError
from lindoc.core.repair import RUN, Repaired, repair, split_runs
from lindoc.core.sentences import sentences
from lindoc.models.encoder import Encoding, Tokenizer

BATCH = 32  # pieces tokenized at once; no effect on what comes out
WORD = re.compile(rf"\w{{1,{RUN}}}|[^\w\s]")  # the longest stretch that is not cut if it fits
NO_TOKEN = "\u25a1"  # read in place of a text of which the tokenizer keeps nothing


@dataclass(frozen=True, slots=True)
class Atom:
    """A piece, or what a cut left of it. Offsets of the encoding are relative to `text`."""

    text: str
    mark: Mark  # its start is the atom's
    boundary: int
    encoding: Encoding

    @property
    def tokens(self) -> int:
        return len(self.encoding.ids)

    @property
    def end(self) -> int:
        return self.mark.start + len(self.text)


def atoms(pieces: Iterable[Piece], document: Document, tokenizer: Tokenizer) -> Iterator[Atom]:
    """One atom a piece, of any length; all text is kept, white space included."""
    batch: list[Piece] = []
    try:
        for piece in pieces:
            batch.append(piece)
            if len(batch) == BATCH:
                yield from _of_batch(batch, document, tokenizer)
                batch = []
    except DocumentError:
        yield from _of_batch(batch, document, tokenizer)  # what came before it is as good as ever
        raise
    yield from _of_batch(batch, document, tokenizer)


def encode(texts: list[str], document: Document, tokenizer: Tokenizer) -> list[Encoding]:
    """Encode texts as a person would see them; the offsets are those of the texts as given."""
    readable = [split_runs(_repaired(text, document)) for text in texts]
    encodings = tokenizer.encode([one.text for one in readable])
    return [
        replace(encoding, offsets=tuple(one.original(start, end) for start, end in encoding.offsets))
        for one, encoding in zip(readable, encodings, strict=True)
    ]


def _repaired(text: str, document: Document) -> Repaired:
    repaired = repair(text)
    shown = document.shown(text)
    return repaired if repaired.starts is not None and shown == repaired.text else Repaired(text)


def cover(text: str, encoding: Encoding) -> Encoding:
    """Stretch the offsets over characters the tokenizer drops (accents, controls): each goes to the token before it,
    those before the first token to that one."""
    covered: list[tuple[int, int]] = []
    at = len(text) - len(text.lstrip())
    for start, end in encoding.offsets:
        if start > at and (gap := text[at:start].rstrip()):
            if covered:
                covered[-1] = (covered[-1][0], at + len(gap))
            else:
                start = at
        covered.append((start, end))
        at = max(at, end)
    if covered and (rest := text[at:].rstrip()):
        covered[-1] = (covered[-1][0], at + len(rest))
    return replace(encoding, offsets=tuple(covered))


def _of_batch(batch: list[Piece], document: Document, tokenizer: Tokenizer) -> Iterator[Atom]:
    texts = [piece.text for piece in batch]
    for piece, encoding in zip(batch, encode(texts, document, tokenizer) if batch else (), strict=True):
        yield Atom(piece.text, piece.mark, piece.boundary, encoding)


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts atoms of one document."""

    document: Document
    tokenizer: Tokenizer

    def overflow(self, atom: Atom, room: int) -> int | None:
        """Where the first word begins that does not fit into `room` tokens, or a beginning of which does not: a word
        may have fewer tokens than its beginning, and at the end of a text nobody knows how the last one goes on."""
        offsets = atom.encoding.offsets
        if atom.tokens + RUN <= room:  # a word has at most RUN characters here
            return None
        for index in range(max(room - RUN, 0), atom.tokens):
            start, end = offsets[index]
            if index < room and (index + end - start <= room or self._beginnings_fit(atom, index, room)):
                continue
            return _word_start(atom.text, start)
        return None

    def split(self, atom: Atom, stop: int, room: int) -> tuple[Atom, Atom]:
        """The atom in two of which the first has at most `room` tokens. stop : see `overflow`"""
        at = self._place(atom, stop, room)
        (first,) = self._encode(atom.text[:at])
        while len(first.ids) > room and at > 1:
            at //= 2
            (first,) = self._encode(atom.text[:at])
        ids, tokens = atom.encoding.ids, len(first.ids)
        word = WORD.search(atom.text, at)
        (probe,) = self._encode(word[0] if word else "")
        if (*first.ids, *probe.ids) == ids[: tokens + len(probe.ids)]:
            offsets = tuple((start - at, end - at) for start, end in atom.encoding.offsets[tokens:])
            second = Encoding(ids[tokens:], offsets, atom.encoding.unknown - first.unknown)
        else:  # the cut changed what stands beside it
            (second,) = self._encode(atom.text[at:])
        after = Piece(atom.text, atom.mark).after(atom.mark.start + at)
        return Atom(atom.text[:at], atom.mark, atom.boundary, first), Atom(after.text, after.mark, 0, second)

    def _place(self, atom: Atom, stop: int, room: int) -> int:
        """The last sentence that fits and leaves a quarter of the room before it, else the last word past half of it,
        else what does not fit; of a word that alone is too long, as much as fits."""
        text, starts = atom.text, [start for start, _ in atom.encoding.offsets]
        for start, _ in reversed(sentences(text[:stop])):
            at = _line_start(text, start)
            if at and bisect_left(starts, at) >= max(room // 4, 1):
                return at
        words = (at for at in reversed(starts[: bisect_left(starts, stop)]) if at and text[at - 1].isspace())
        word = next(words, 0) if text[stop - 1 : stop] and not text[stop - 1].isspace() else stop
        if word and bisect_left(starts, word) >= room // 2:
            return word
        if stop and bisect_left(starts, stop):
            return stop
        run = WORD.match(text, stop)
        return stop + self._most_that_fits(run[0] if run else text[stop : stop + 1], room)

    def _beginnings_fit(self, atom: Atom, index: int, room: int) -> bool:
        """Whether the text up to the middle of a token has no more tokens than fit, wherever it is broken off."""
        start, end = atom.encoding.offsets[index]
        begin = _word_start(atom.text, start)
        before = bisect_left(atom.encoding.offsets, (begin, 0))
        broken = self._encode(*(atom.text[begin:middle] for middle in range(start + 1, end)))
        return before + max((len(one.ids) for one in broken), default=0) <= room

    def _most_that_fits(self, word: str, room: int) -> int:
        for begin in range(0, len(word), room):
            ends = range(begin + 1, min(begin + room, len(word)) + 1)
            for end, beginning in zip(ends, self._encode(*(word[:end] for end in ends)), strict=True):
                if len(beginning.ids) > room:
                    return max(end - 1, 1)
        return len(word)

    def _encode(self, *texts: str) -> list[Encoding]:
        return encode(list(texts), self.document, self.tokenizer)


def _line_start(text: str, start: int) -> int:
    """The same border before the indentation that leads to it, if the line begins with it."""
    begin = text.rfind("\n", 0, start) + 1
    return begin if text[begin:start].isspace() else start


def _word_start(text: str, at: int) -> int:
    """The start of the word that `at` is in. A run of more than RUN characters is many words."""
    begin = at
    while begin and (text[begin - 1].isalnum() or text[begin - 1] == "_"):
        begin -= 1
    return at - (at - begin) % RUN

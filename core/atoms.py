"""Pieces to atoms: stretches of at most `limit` tokens, cut at a sentence, then a word, then anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from lindoc.core.documents import Document, Mark, Piece
from lindoc.core.repair import Repaired, repair, split_runs
from lindoc.core.sentences import sentences
from lindoc.models.encoder import Encoding, Tokenizer

BATCH = 32  # pieces tokenized at once; no effect on what comes out
NO_TOKEN = "\u25a1"  # read in place of a text of which the tokenizer keeps nothing


@dataclass(frozen=True, slots=True)
class Atom:
    """A stretch of text that stays in one segment. Offsets of the encoding are relative to `text`."""

    text: str
    mark: Mark  # its start is the atom's
    boundary: int
    encoding: Encoding

    @property
    def tokens(self) -> int:
        return len(self.encoding.ids)


def atoms(pieces: Iterable[Piece], document: Document, tokenizer: Tokenizer, limit: int) -> Iterator[Atom]:
    """Contiguous atoms of the pieces; all text is kept, white space included."""
    batch: list[Piece] = []
    for piece in pieces:
        batch.append(piece)
        if len(batch) == BATCH:
            yield from _of_batch(batch, document, tokenizer, limit)
            batch = []
    yield from _of_batch(batch, document, tokenizer, limit)


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


def _of_batch(batch: list[Piece], document: Document, tokenizer: Tokenizer, limit: int) -> Iterator[Atom]:
    if not batch:
        return
    for piece, encoding in zip(batch, encode([piece.text for piece in batch], document, tokenizer), strict=True):
        if len(encoding.ids) <= limit:
            yield Atom(piece.text, piece.mark, piece.boundary, encoding)
        else:
            yield from _cut(piece, document, tokenizer, limit)


def _cut(piece: Piece, document: Document, tokenizer: Tokenizer, limit: int) -> Iterator[Atom]:
    """A piece that is too long, at its sentences; a sentence that is too long, at its words."""
    starts = [_line_start(piece.text, start) for start, _ in sentences(piece.text)]
    parts = [piece.text[start:end] for start, end in pairwise([0, *starts[1:], len(piece.text)])]
    at, first = 0, True
    for part, encoding in zip(parts, encode(parts, document, tokenizer), strict=True):
        short = (
            [(part, encoding)] if len(encoding.ids) <= limit else _by_words(part, encoding, document, tokenizer, limit)
        )
        for text, encoded in short:
            yield Atom(text, _moved(piece, at), piece.boundary if first else 0, encoded)
            at, first = at + len(text), False


def _line_start(text: str, start: int) -> int:
    """The same border before the indentation that leads to it, if the line begins with it."""
    begin = text.rfind("\n", 0, start) + 1
    return begin if text[begin:start].isspace() else start


def _by_words(
    text: str, encoding: Encoding, document: Document, tokenizer: Tokenizer, limit: int
) -> Iterator[tuple[str, Encoding]]:
    """Stretches of whole words; a word is cut only if it has more than `limit` tokens."""
    parts = [text[start:end] for start, end in pairwise(_word_borders(text, encoding.offsets, limit))]
    for part, encoded in zip(parts, encode(parts, document, tokenizer), strict=True):
        if len(encoded.ids) <= limit or len(part) == 1:
            yield part, encoded
            continue
        half = len(part) // 2  # a word cut in two can have more tokens than it had
        halves = [part[:half], part[half:]]
        for piece, read in zip(halves, encode(halves, document, tokenizer), strict=True):
            yield from [(piece, read)] if len(read.ids) <= limit else _by_words(piece, read, document, tokenizer, limit)


def _word_borders(text: str, offsets: tuple[tuple[int, int], ...], limit: int) -> list[int]:
    """Borders at most `limit` tokens apart: the last start of a word before the limit, else the start of a token."""
    borders, first = [0], 0
    while len(offsets) - first > limit:
        words = (
            index
            for index in range(first + limit, first + limit // 2, -1)
            if offsets[index][0] > borders[-1] and text[offsets[index][0] - 1].isspace()
        )
        first = next(words, first + limit)
        if borders[-1] < offsets[first][0] < len(text):
            borders.append(offsets[first][0])
    return [*borders, len(text)]


def _moved(piece: Piece, by: int) -> Mark:
    """The piece's mark, moved to where `by` characters of it have passed."""
    mark = piece.mark
    line = None if mark.line is None else mark.line + piece.text.count("\n", 0, by)
    return replace(mark, start=mark.start + by, line=line)

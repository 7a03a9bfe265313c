"""Canonical text to segments of at most `limit` tokens: natural pieces, small neighbours joined.

Every decision is made from the text up to a segment's end, what border a reader sees after it, and that more follows
than fits. So text that is appended to whole lines changes only the last, open segment; a line that was not ended may
turn out to begin a section, and then the border before it may move as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from lindoc.core.atoms import NO_TOKEN, Atom, Cutter, atoms, cover
from lindoc.core.borders import Border, Borders
from lindoc.core.documents import Document, Mark, Segment
from lindoc.models.encoder import Encoding, Tokenizer

LEAST = 60  # tokens below which a segment is joined with what follows, whatever border lies between
ENOUGH = 150  # tokens from which a segment is closed at the next paragraph or message
BLANK_LINES = re.compile(r"\s*\n")


def segments(
    document: Document,
    tokenizer: Tokenizer,
    limit: int = 254,
    *,
    after: Border | None = None,
    borders: Borders | None = None,
) -> Iterator[tuple[Segment, Encoding]]:
    """Stream a document's segments and their tokens.

    limit : tokens a segment may have, without [CLS] and [SEP]
    after : a border of this document; the segments after it come, the text before it is not tokenized
    borders : knows, when a segment comes, the border after it

    Offsets of an encoding are relative to the segment's (canonical) text; every character that is not white space
    lies in exactly one segment and inside some token's offsets. Raises DocumentError.
    """
    index = 0 if after is None else after.segments
    known = Borders() if borders is None else borders
    pieces = known.watched(document.pieces(), after)
    for group, decider in _groups(atoms(pieces, document, tokenizer), Cutter(document, tokenizer), limit):
        if any(not atom.text.isspace() for atom in group):
            index += 1
            known.close(index, group[-1].end, None if decider is None else decider.mark.start)
            yield _segment(index - 1, group, tokenizer)


def _groups(stream: Iterator[Atom], cutter: Cutter, limit: int) -> Iterator[tuple[list[Atom], Atom | None]]:
    """Atoms that make a segment, and the atom that decided that it ends."""
    least, enough = min(LEAST, limit // 4), min(ENOUGH, 3 * limit // 5)
    opened: list[Atom] = []
    tokens = 0
    for atom in stream:
        if opened and ((atom.boundary == 2 and tokens >= least) or (atom.boundary == 1 and tokens >= enough)):
            yield opened, atom
            opened, tokens = [], 0
        rest = atom
        while (stop := cutter.overflow(rest, limit - tokens)) is not None:
            if tokens >= least:
                cut = _best_cut(opened, rest, least)
                yield opened[:cut], atom
                opened = opened[cut:]
            else:
                head, rest = cutter.split(rest, stop, limit - tokens)
                yield [*opened, head], rest
                opened = []
            tokens = sum(one.tokens for one in opened)
        opened.append(rest)
        tokens += rest.tokens
    if opened:
        yield opened, None


def _best_cut(opened: list[Atom], following: Atom, least: int) -> int:
    """Where to cut before it grows too long: the strongest border that leaves `least` tokens before it (half of
    them before a section, page or function), the latest of these."""
    best, strength = len(opened), following.boundary
    before = sum(atom.tokens for atom in opened)
    for index in range(len(opened) - 1, 0, -1):
        before -= opened[index].tokens
        stronger = opened[index].boundary
        if stronger > strength and before >= (least // 2 if stronger == 2 else least):
            best, strength = index, stronger
    return best


def _segment(index: int, group: list[Atom], tokenizer: Tokenizer) -> tuple[Segment, Encoding]:
    text = "".join(atom.text for atom in group)
    blank = BLANK_LINES.match(text)
    skip = blank.end() if blank else 0
    stripped = text[skip:].rstrip()
    encoding = cover(stripped, _joined(group, skip))
    if not encoding.ids:  # nothing but characters the tokenizer drops
        (unknown,) = tokenizer.encode([NO_TOKEN])
        encoding = replace(unknown, offsets=((0, len(stripped)),) * len(unknown.ids))
    start = group[0].mark.start + skip
    segment = Segment(index, start, stripped, _marks(group, start), len(encoding.ids))
    return segment, encoding


def _joined(group: list[Atom], skip: int) -> Encoding:
    """The atoms' encodings as one, offsets counted from `skip` characters into the group."""
    base = group[0].mark.start + skip
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    for atom in group:
        shift = atom.mark.start - base
        ids.extend(atom.encoding.ids)
        offsets.extend((start + shift, end + shift) for start, end in atom.encoding.offsets)
    return Encoding(tuple(ids), tuple(offsets), sum(atom.encoding.unknown for atom in group))


def _marks(group: list[Atom], start: int) -> tuple[Mark, ...]:
    """The places inside a group, each once; the first is moved to the segment's start."""
    marks: list[Mark] = []
    for atom in group:
        mark = atom.mark
        if mark.start <= start:
            newlines = atom.text.count("\n", 0, start - mark.start)
            line = None if mark.line is None else mark.line + newlines
            marks = [replace(mark, start=start, line=line)]
        elif not marks or _place(mark) != _place(marks[-1]):
            marks.append(mark)
    return tuple(marks)


def _place(mark: Mark) -> tuple[object, ...]:
    return mark.page, mark.page_label, mark.message, mark.speaker, mark.time

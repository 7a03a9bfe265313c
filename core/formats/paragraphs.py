"""Lines to paragraphs, for plain text, Markdown and the pages of a PDF."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lindoc.core.formats.decoding import Line

MAX_PARAGRAPH = 4096  # characters; a longer one goes on as a piece that may be cut before
ITEM = re.compile(r"\s*([-*•·▪◦‣]\s|\(?(\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)]\s|\d{1,2}(\.\d{1,2})+\.?\s)")
SECTION = re.compile(
    r"\s*((ARTICLE|Article|SECTION|Section|CHAPTER|Chapter|PART|Part|Item|ITEM|EXHIBIT|Exhibit|SCHEDULE|Schedule|"
    r"APPENDIX|Appendix|ANNEX|Annex)\s+([IVXLC]+|\d+[A-Z]?|[A-Z])\b[^a-z]{0,3}([A-Z].{0,80})?|"
    r"\d{1,2}\.\s+[A-Z][A-Z ,&;/'’-]{3,80}\.?)\s*$"
)
HEADING = re.compile(r"\s{0,3}#{1,6}(\s|$)")
UNDERLINE = re.compile(r"\s*(={3,}|-{3,})\s*$")
FENCE = re.compile(r"\s{0,3}(```|~~~)")
SENTENCE_END = re.compile(r"[.!?:;…][\"'”’)\]]*\s*$")


@dataclass(slots=True)
class Paragraph:
    """Contiguous lines, blank lines after them included."""

    start: int
    line: int
    boundary: int  # see documents.Piece
    parts: list[str] = field(default_factory=list)
    length: int = 0

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)

    def has_text(self) -> bool:
        return any(not part.isspace() for part in self.parts)

    @property
    def text(self) -> str:
        return "".join(self.parts)


def paragraphs(lines: Iterable[Line], *, markdown: bool = False) -> Iterator[Paragraph]:
    """Group lines; each decision looks at the lines before and at the line itself, never ahead."""
    now: Paragraph | None = None
    previous, widest, fence = "", 0, ""
    for line in lines:
        opening = FENCE.match(line.text) if markdown else None
        boundary = _boundary(previous, line.text, widest, markdown=markdown) if not fence else -1
        if now is None:
            now = Paragraph(line.start, line.number, 2)
        elif boundary > 0 and not line.continued and now.has_text():
            yield now
            now = Paragraph(line.start, line.number, boundary)
        elif now.length > MAX_PARAGRAPH:
            yield now
            now = Paragraph(line.start, line.number, 0)
        now.add(line.text)
        if opening and (not fence or opening[1] == fence):
            fence = "" if fence else opening[1]
        stripped = line.text.strip()
        widest = max(widest, len(stripped)) if stripped else widest
        previous = line.text
    if now is not None:
        yield now


def is_heading(text: str) -> bool:
    """A short line that heads what follows: numbered, in capitals, or an article or section line."""
    line = text.strip()
    if not 3 < len(line) <= 100 or line.endswith((",", ";")):
        return False
    letters = [char for char in line if char.isalpha()]
    capitals = len(letters) >= 4 and all(char.isupper() for char in letters)
    return capitals or SECTION.match(line) is not None


def _boundary(previous: str, line: str, widest: int, *, markdown: bool) -> int:
    """How strongly the text may be cut between two lines; 0 inside a paragraph."""
    if not line.strip():
        return 0  # blank lines belong to what stands before them
    if markdown and HEADING.match(line):
        return 2
    before = previous.strip()
    if UNDERLINE.match(line) and before:
        return 0
    if is_heading(line) and not is_heading(previous):
        return 2
    if not before:
        return 1
    if is_heading(previous) or (markdown and HEADING.match(previous)):
        return 0
    if ITEM.match(line):
        return 1
    ends = SENTENCE_END.search(before) is not None
    starts = line.lstrip()[:1].isupper() or line.lstrip()[:1] in "\"“'‘("
    indented = len(line) - len(line.lstrip(" \t")) > len(previous) - len(previous.lstrip(" \t"))
    return int(ends and starts and (len(before) < 0.8 * widest or indented))

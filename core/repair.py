"""What an extractor leaves to a readable text, with the way back: ligatures, hyphens at line breaks."""

from __future__ import annotations

import re
from dataclasses import dataclass

LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
# U+FFFE is how pdfium gives a hyphen at a line break; U+00AD is a soft hyphen.
BROKEN = re.compile("[ﬀ-ﬆ]|[\ufffe\u00ad][ \t]*(?:\r?\n[ \t]*)?|(?<=[a-z])[-\u2010]\r?\n[ \t]*(?=[a-z])")
RUN = 100  # characters without a break that a tokenizer takes as one word; more become one unknown token
WORD_RUN = re.compile(rf"\w{{{RUN + 1},}}")


@dataclass(frozen=True, slots=True)
class Repaired:
    """Repaired text. Its character i stands for original[starts[i]:ends[i]]; both are None if nothing changed."""

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that text[start:end] stands for."""
        if self.starts is None or self.ends is None:
            return start, end
        if start >= end:
            at = self.starts[start] if start < len(self.starts) else (self.ends[-1] if self.ends else 0)
            return at, at
        return self.starts[start], self.ends[end - 1]


def repair(text: str) -> Repaired:
    """Ligatures spelt out, words broken at a line end joined."""
    edits = [(match.start(), match.end(), LIGATURES.get(match[0], "")) for match in BROKEN.finditer(text)]
    return _edited(text, edits)


def split_runs(repaired: Repaired) -> Repaired:
    """A space after every RUN characters of a word that long, so that a tokenizer does not give it up as unknown."""
    edits = [
        (at, at, " ")
        for match in WORD_RUN.finditer(repaired.text)
        for at in range(match.start() + RUN, match.end(), RUN)
    ]
    split = _edited(repaired.text, edits)
    if split.starts is None or split.ends is None or repaired.starts is None or repaired.ends is None:
        return split if split.starts is not None else repaired
    spans = [repaired.original(start, end) for start, end in zip(split.starts, split.ends, strict=True)]
    return Repaired(split.text, [start for start, _ in spans], [end for _, end in spans])


def _edited(text: str, edits: list[tuple[int, int, str]]) -> Repaired:
    """Replace the spans, in order; what replaces a span stands for all of it."""
    if not edits:
        return Repaired(text)
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for start, end, new in edits:
        parts += [text[at:start], new]
        starts += range(at, start)
        ends += range(at + 1, start + 1)
        starts += [start] * len(new)
        ends += [end] * len(new)
        at = end
    parts.append(text[at:])
    starts += range(at, len(text))
    ends += range(at + 1, len(text) + 1)
    return Repaired("".join(parts), starts, ends)

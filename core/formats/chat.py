"""Chat logs: one piece per message, with its number, speaker and time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lindoc.core.documents import Mark, Piece
from lindoc.core.formats.base import LineDocument
from lindoc.core.formats.decoding import Line, TextFile
from lindoc.core.formats.sources import Source

SHARE, LEAST = 0.6, 3  # of the non-empty lines that must begin a message, and how many there must be
PAUSE = 45  # minutes of silence after which a new run of messages begins
MAX_MESSAGE = 4096  # characters; a longer message goes on as a piece that may be cut before

DATE = r"(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\w{3,9} \d{1,2},? \d{4})"
CLOCK = r"\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:\.\d{1,6})?(?: ?[AaPp]\.?[Mm]\.?)?(?:Z|[+-]\d{2}:?\d{2})?"
WHEN = rf"(?:{DATE},? ?(?:T| )?)?{CLOCK}"
PATTERNS: dict[str, re.Pattern[str]] = {
    "whatsapp-ios": re.compile(rf"\[(?P<time>{DATE},? {CLOCK})\] (?P<name>[^:\n]{{1,80}}): "),
    "whatsapp-android": re.compile(rf"(?P<time>{DATE},? {CLOCK}) [-–] (?:(?P<name>[^:\n]{{1,80}}): |(?=\S))"),
    "irc": re.compile(
        rf"(?:\[?(?P<time>{WHEN})\]?|\[\]) (?:<[ @+%&~]?(?P<name>[^>\s]{{1,40}})> ?|\* (?P<action>\S{{1,40}}) |"
        r"(?:===|-!-|\*\*\*|-->|<--|=-=) ?)"
    ),
    "generic": re.compile(
        rf"(?:\[(?P<time>{WHEN})\] ?|\((?P<time2>{WHEN})\) ?|(?P<time3>{WHEN})[ ,-]+)"
        r"(?P<name>[^:\n\[\]{}=]{1,60}): "
    ),
}
IOS_SYSTEM = re.compile(rf"\[(?P<time>{DATE},? {CLOCK})\] ")
INVISIBLE = {0x200E: None, 0x200F: None, 0x202A: None, 0x202C: None, 0xFEFF: None, 0x202F: " ", 0xA0: " ", 0x2009: " "}
LEVELS = {"trace", "debug", "info", "notice", "warn", "warning", "error", "fatal", "critical"}


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of a message. `speaker` is None for a system line."""

    time: str
    speaker: str | None


def header(pattern: str, line: str) -> Header | None:
    """The message header that begins `line`, in one of the PATTERNS."""
    clean = line[:300].translate(INVISIBLE)
    match = PATTERNS[pattern].match(clean)
    if match is None and pattern == "whatsapp-ios":
        match = IOS_SYSTEM.match(clean)
    if match is None:
        return None
    found = match.groupdict()
    time = found.get("time") or found.get("time2") or found.get("time3") or ""
    speaker = found.get("name") or found.get("action")
    return Header(time, speaker.strip() if speaker else None)


def detect_chat(head: str) -> str | None:
    """The kind of chat log that a text's first megabyte is, or None."""
    lines = [line for line in head.split("\n")[:20_000] if line.strip()]
    for pattern in PATTERNS:
        headers = [found for line in lines if (found := header(pattern, line))]
        spoken = [found for found in headers if found.speaker]
        first = header(pattern, lines[0]) if lines else None
        dated = pattern.startswith("whatsapp") and first is not None  # long messages have many lines
        if len(spoken) < LEAST or len(headers) < (0.1 if dated else SHARE) * len(lines):
            continue
        if pattern == "generic" and sum((one.speaker or "").lower() in LEVELS for one in spoken) > 0.3 * len(spoken):
            continue
        return pattern
    return None


class ChatDocument(LineDocument):
    kind = "chat"

    def __init__(self, source: Source, text: TextFile, pattern: str):
        super().__init__(source, text)
        self.pattern = pattern
        self._other = Line(0, 0, "")  # the first of lines that begin messages written another way
        self._others = 0  # how many of them there are in a row

    def pieces(self) -> Iterator[Piece]:
        parts: list[str] = []
        mark, boundary, length = Mark(0, line=1), 2, 0
        before: Header | None = None
        self._other, self._others = Line(0, 0, ""), 0
        for line in self.text.lines():
            found = header(self.pattern, line.text) if not line.continued else None
            if parts and (found or length > MAX_MESSAGE):
                yield Piece("".join(parts), mark, boundary)
                parts, length, boundary = [], 0, 0
            if not line.continued:
                self._look_for_another(line, found)
            if found:
                mark = Mark(line.start, None, None, line.number, (mark.message or 0) + 1, found.speaker, found.time)
                boundary = _boundary(before, found)
                before = found if found.time else before
            elif not parts and line.start:
                mark = _continued(mark, line)
            parts.append(line.text)
            length += len(line.text)
        if parts:
            yield Piece("".join(parts), mark, boundary)

    def _look_for_another(self, line: Line, found: Header | None) -> None:
        """Report messages written another way than the log was taken for; it stays what it was taken for."""
        other = None if found or not line.text.strip() else another(self.pattern, line.text)
        if other is None:
            self._others = 0 if found or line.text.strip() else self._others
            return
        self._other = line if not self._others else self._other
        self._others += 1
        if self._others == LEAST and not any(" begin to be written as " in said for said in self.report.warnings):
            self.report.warnings.append(
                f"line {self._other.number}: messages begin to be written as {other}; they are read as {self.pattern}"
            )


def another(pattern: str, line: str) -> str | None:
    """The pattern other than this one of whose messages the line may be the first."""
    found = ((name, header(name, line)) for name in PATTERNS if name != pattern)
    return next((name for name, begun in found if begun and begun.speaker), None)


def _continued(mark: Mark, line: Line) -> Mark:
    return Mark(line.start, None, None, line.number, mark.message, mark.speaker, mark.time)


def _boundary(before: Header | None, now: Header) -> int:
    """2 where a new conversation begins: another day, or a pause."""
    if before is None:
        return 2
    if not now.time:
        return 1
    (day, minutes), (day_now, minutes_now) = _when(before.time), _when(now.time)
    return 2 if day != day_now or not 0 <= minutes_now - minutes <= PAUSE else 1


def _when(time: str) -> tuple[str, int]:
    """Day as written and minute of the day."""
    clock = re.search(r"(\d{1,2})[:.](\d{2})(?:[:.]\d{2})?(?:\.\d+)? ?([AaPp]?)[^\s]*$", time)
    if clock is None:
        return time, 0
    hour = int(clock[1]) % 12 + 12 * (clock[3].lower() == "p") if clock[3] else int(clock[1])
    return time[: clock.start()], hour * 60 + int(clock[2])

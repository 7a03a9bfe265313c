"""Text to sentences, by rules: prose, contracts, chat lines and code lines."""

from __future__ import annotations

import re
from itertools import pairwise


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ABBREVIATIONS = _words(
    "mr mrs ms dr prof rev hon gen col maj capt lt sgt gov sen rep st sr jr messrs mme mlle inc ltd co corp llc plc "
    "bros assn dept univ est e.g i.e etc vs cf al viz approx ca resp incl excl no nos art sec sect ch chap par para "
    "pp p vol ed eds fig figs eq eqs ex exh app tab ref jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed "
    "thu fri sat sun u.s u.k u.n e.u d.c ph.d m.d b.a m.a a.m p.m l.p n.a s.a"
)
ENDING = _words("inc ltd co corp llc etc a.m p.m jr sr u.s u.k ph.d m.d l.p n.a s.a al")  # may end one too
STARTERS = _words(
    "the a an this that these those it he she we they i you in on at if as but and for when while there here such "
    "each all any no however after before since with by to our its his her their what who how why which upon except"
)
STOP = re.compile(r"(?:[.!?]+|…|。|！|？)[\"'”’)\]]*(?=\s)|[。！？]")
WORD_BEFORE = re.compile(r"[\w.&-]+$")
BREAK = re.compile(r"\r?\n")
NEW_LINE = re.compile(  # what begins a sentence of its own at the start of a line
    r"\s*(?:[-*•·▪◦‣>|]\s|#{1,6}\s|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)]\s|\d{1,2}(?:\.\d{1,2})+\.?\s|```|"
    r"\[[^\]\n]{1,30}\]\s*\S|\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?\s|\d{1,2}:\d{2}(?::\d{2})?\s|<\S{1,40}>\s)"
)
CODE_LINE = re.compile(
    r"[;{}]\s*$|^\s*(?:def |class |return\b|import |from \S+ import |if .*:\s*$|[)\]}])|^\s*[\w.\[\]]+ [-+*/|&]?= "
)
SHORT = 0.6  # of the longest line: a line shorter than this did not end because the page was full


def sentences(text: str) -> list[tuple[int, int]]:
    """Half-open spans of the sentences of `text`, without outer white space; every other character is in one."""
    spans: list[tuple[int, int]] = []
    start = 0
    for cut in sorted({*_stops(text), *_line_breaks(text)}):
        start = _add(spans, text, start, cut)
    _add(spans, text, start, len(text))
    return spans


def _add(spans: list[tuple[int, int]], text: str, start: int, end: int) -> int:
    piece = text[start:end]
    stripped = piece.strip()
    if stripped:
        begin = start + len(piece) - len(piece.lstrip())
        spans.append((begin, begin + len(stripped)))
    return end


def _stops(text: str) -> list[int]:
    """Ends of sentences by punctuation."""
    cuts = []
    for match in STOP.finditer(text):
        end = match.end()
        following = text[end : end + 80].lstrip()
        if not following:
            continue
        if (
            match[0].startswith(".")
            and not match[0].startswith("..")
            and not _ends_with_dot(text, match.start(), following)
        ):
            continue
        if following[0].islower() and not match[0].startswith(("!", "?")):
            continue
        cuts.append(end)
    return cuts


def _ends_with_dot(text: str, dot: int, following: str) -> bool:
    """Whether a single dot ends a sentence and not an abbreviation, an initial or the number of an item."""
    found = WORD_BEFORE.search(text, max(dot - 40, 0), dot)
    if found is None:
        return True
    word = found[0].lower().strip("-&")
    line = text[text.rfind("\n", 0, dot) + 1 : found.start()]
    if not line.strip(" \t([") and (word.isdigit() or len(word) <= 2 or re.fullmatch(r"[\divx]+(\.\d+)*", word)):
        return False  # "1. Terms", "a. Fees", "2.3. Taxes"
    next_word = re.match(r"[\"'“‘(\[]*(\w*)", following)
    starts = next_word is not None and next_word[1].lower() in STARTERS and next_word[1][:1].isupper()
    if word in ENDING:
        return starts
    if word in ABBREVIATIONS or re.fullmatch(r"([a-z]\.)+[a-z]", word):
        return False
    if len(word) == 1 and word.isalpha():  # an initial: "J. Smith"; "plan B. The"
        return starts
    return True


def _line_breaks(text: str) -> list[int]:
    """Line breaks that end a sentence though no punctuation does."""
    lines: list[tuple[int, int]] = []  # of each line, without its break
    at = 0
    for match in BREAK.finditer(text):
        lines.append((at, match.start()))
        at = match.end()
    lines.append((at, len(text)))
    widest = max(end - start for start, end in lines)
    cuts = []
    before = ""  # the last line that is no underline
    for (start, end), (next_start, next_end) in pairwise(lines):
        line, after = text[start:end], text[next_start:next_end]
        before = before if _is_rule(line) else line
        if not line.strip() or not after.strip() or (not _is_rule(after) and _breaks(before, after, widest)):
            cuts.append(next_start)
    return cuts


def _is_rule(line: str) -> bool:
    """An underline, which may run below the first line of a sentence."""
    return bool(line.strip()) and set(line.strip()) <= set("-=_*~ ")


def _breaks(before: str, after: str, widest: int) -> bool:
    if NEW_LINE.match(after) or before.endswith("\f") or CODE_LINE.search(before) or CODE_LINE.search(after):
        return True
    if not before.strip() or before.lstrip().startswith("#"):
        return True
    begins = after.lstrip()[:1].isupper() or after.lstrip()[:1].isdigit()
    return begins and len(before) < SHORT * widest and before.rstrip()[-1] not in ",;-–—(&"

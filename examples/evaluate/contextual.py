"""A contextual set from books, docs and code: the query names what only an earlier segment of the document says.

A query is a name (chapter, page and section, class or file) and a few words of a segment further on, words that many
other texts of the corpus use too. Gold are the segments under that name that hold all these words; neither they nor any
other segment under the name with these words says a word of the name. All segments of all books, docs and code files
are candidates.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from string import capwords
from typing import Any

from examples.evaluate.sets import LabelledDocument, segment_starts, split_text
from lindoc.core.search import STOP_WORDS

WORDS = 3  # of the segment in a query
COMMON = 12  # stretches of the corpus in which such a word occurs at least
TOO_COMMON = 0.3  # share of them from which a word tells nothing
STRETCH = 20_000  # characters
MOST_GOLD = 3  # segments
AFTER = 2  # segments between the one that says the name and the first gold one
LEAST_CHARS = 1_500  # of a stretch under one name
MOST = {"book": 400, "docs": 5, "code": 6}  # queries a document
TRIES = 30  # draws of words for one query
STEM = 5  # letters that two words share if one says the other
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # camelCase and snake_case fall apart
GENERIC = frozenset(
    re.findall(r"\w+", "class struct function functions method module file index main self test tests init")
)
CHAPTER = re.compile(r"^(?:CHAPTER|Chapter) [IVXLC\d]+[.:]?\s+(\S.{3,70}?)\.?$", re.M)
PAGE = re.compile(r"\A\W*^(?:# (?P<hash>.+)|(?P<line>\S.{2,80})\n[=*#~-]{3,})$", re.M)
NO_PAGE = re.compile(r"^NAME$|release notes|changelog", re.I)  # manual pages name themselves below; lists
SECTION = re.compile(r"^(?:(?P<level>##+) (?P<hash>.+)|(?P<line>\S.{2,70})\n(?P<rule>[=~^*+-])(?P=rule){3,})$", re.M)
FILE = re.compile(r"^(?://|#) (?![a-z]+://)((?:[\w.@-]+/)+[\w.-]+\.\w{1,5})$", re.M)
TYPE = re.compile(
    r"^(?:(?:export|default|public|pub|abstract|final|static|open|data|sealed|internal) )*"
    r"(?:class|struct|interface|trait|enum|impl(?:<[^>]*>)?) ([A-Z]\w{3,})",
    re.M,
)
DEFINED = re.compile(
    r"\b(?:def|fn|func|fun|function) (\w+)|^    ?(?:async |public |static |private )*(\w+)\(.*\{$", re.M
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What stands under one name."""

    name: str
    begin: int  # code points; the name is said here
    end: int
    most: int  # queries


@dataclass(slots=True)
class Draft:
    """A document on its way to its queries."""

    row: dict[str, Any]
    segments: list[str]
    starts: list[int]  # code points
    words: list[frozenset[str]] = field(default_factory=list)  # of each segment

    def __post_init__(self) -> None:
        self.words = [words_of(segment) for segment in self.segments]


def contextual(rows: Iterable[dict[str, Any]], limit: int | None = None) -> list[LabelledDocument]:
    """`rows` of the corpus, with text, title and kind. `limit`: that many documents with queries, and no others."""
    drafts = []
    for row in rows:
        if row["kind"] in SCOPES:
            segments = split_text(row["text"])
            drafts.append(Draft(row, segments, segment_starts(row["text"], segments)))
    stretches = [stretch for draft in drafts for stretch in _stretches(draft.row["text"])]
    counts = Counter(word for stretch in stretches for word in stretch)
    common = frozenset(word for word, n in counts.items() if COMMON <= n <= TOO_COMMON * len(stretches)) - GENERIC
    documents = [
        LabelledDocument(d.segments, d.row["title"], list(_queries(d, common)), kind=d.row["kind"]) for d in drafts
    ]
    return documents if limit is None else [d for d in documents if d.queries][:limit]


def _stretches(text: str) -> list[frozenset[str]]:
    return [words_of(text[i : i + STRETCH]) for i in range(0, len(text), STRETCH)]


def words_of(text: str) -> frozenset[str]:
    """The telling words of a text, parts of identifiers among them, lower case."""
    found = {part.lower() for part in PART.findall(text)}
    return frozenset(word for word in found if len(word) > 3 and word not in STOP_WORDS)


def _queries(draft: Draft, common: frozenset[str]) -> Iterator[tuple[str, list[int]]]:
    kind = draft.row["kind"]
    draw = random.Random(f"{draft.row['source']} {draft.row['title']}")
    scopes = [scope for scope in SCOPES[kind](draft.row) if scope.end - scope.begin >= LEAST_CHARS]
    draw.shuffle(scopes)
    left = MOST[kind]
    for scope in scopes:
        name = words_of(scope.name) - GENERIC
        spans = zip(draft.starts, draft.segments, strict=True)
        inside = [i for i, (a, text) in enumerate(spans) if scope.begin < a and a + len(text) <= scope.end]
        free = [i for i in inside[AFTER:] if not says(draft.words[i], name)]
        if not name or not free:
            continue
        for at in draw.sample(free, min(scope.most, left, len(free))):
            if found := _query(draft, scope, at, inside, frozenset(free), common, draw):
                yield found
                left -= 1


def _query(
    draft: Draft,
    scope: Scope,
    at: int,
    inside: list[int],
    free: frozenset[int],
    common: frozenset[str],
    draw: random.Random,
) -> tuple[str, list[int]] | None:
    """The name and words that lead to segment `at` and at most two others under the name."""
    known = sorted(draft.words[at] & common)
    method = next((a or b for a, b in DEFINED.findall(draft.segments[at])), "") if draft.row["kind"] == "code" else ""
    first = [part.lower() for part in PART.findall(method) if part.lower() in known][: WORDS - 1]
    rest = [word for word in known if word not in first]
    if len(known) < 3 * WORDS:
        return None
    for _ in range(TRIES):
        words = [*first, *draw.sample(rest, WORDS - len(first))]
        gold = [i for i in inside if draft.words[i].issuperset(words)]
        if len(gold) <= MOST_GOLD and free.issuperset(gold):
            return f"{scope.name}: {' '.join(words)}", gold
    return None


def says(words: frozenset[str], name: frozenset[str]) -> bool:
    """Whether a text holds a word of the name, or one that begins alike."""
    begins = {word[:STEM] for word in words}
    return any(word[:STEM] in begins for word in name)


def _chapters(row: dict[str, Any]) -> list[Scope]:
    found = list(CHAPTER.finditer(row["text"]))
    borders = [*(match.start() for match in found[1:]), len(row["text"])]
    return [Scope(capwords(m[1]), m.start(), end, 4) for m, end in zip(found, borders, strict=False)]


def _sections(row: dict[str, Any]) -> list[Scope]:
    """The page, and its sections under the page's name."""
    text = row["text"]
    page = PAGE.search(text)
    title = _plain(page["hash"] or page["line"]) if page else ""
    if page is None or NO_PAGE.search(title):
        return []
    scopes = [Scope(title, page.start(), len(text), 2)]
    found = list(SECTION.finditer(text, page.end()))
    for i, match in enumerate(found):
        level = len(match["level"] or "##")
        end = next((m.start() for m in found[i + 1 :] if len(m["level"] or "##") <= level), len(text))
        scopes.append(Scope(f"{title}, {_plain(match['hash'] or match['line'])}", match.start(), end, 2))
    return scopes


def _plain(heading: str) -> str:
    return re.sub(r"[`*]|\{#.*\}", "", heading).strip(" #.:")


def _types(row: dict[str, Any]) -> list[Scope]:
    """Files, and the classes in them, each up to the next of its kind or of the file."""
    text = row["text"]
    files, types = list(FILE.finditer(text)), list(TYPE.finditer(text))
    borders = sorted([m.start() for m in (*files, *types)] + [len(text)])
    scopes = [Scope(m[1], m.start(), next(b for b in borders if b > m.start()), 3) for m in types]
    for i, match in enumerate(files):
        end = files[i + 1].start() if i + 1 < len(files) else len(text)
        scopes.append(Scope(PurePosixPath(match[1]).name, match.start(), end, 2))
    return scopes


SCOPES: dict[str, Callable[[dict[str, Any]], list[Scope]]] = {"book": _chapters, "docs": _sections, "code": _types}

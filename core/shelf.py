"""The index as a whole: its documents as the tasks work on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lindoc.core.catalog import GROWN, is_below
from lindoc.core.documents import Document, Piece, ReadReport
from lindoc.core.errors import DocumentError
from lindoc.core.formats import Source
from lindoc.core.store import Store

MOST_NAMED = 3  # documents named in a warning about many


@dataclass(frozen=True, slots=True)
class Scoped:
    """A document that the tasks work on."""

    name: str
    sha256: str | None  # None if its file has grown meanwhile
    reopen: Callable[[], Document]  # afresh from its source


def shelved(
    store: Store, open_source: Callable[[Source], Document], on_warning: Callable[[str], None]
) -> Iterator[tuple[int, Scoped]]:
    """Contents and documents of an index that can be asked; what cannot is said."""
    left_out: dict[str, list[str]] = {}
    for listed in store.listed():
        name = shown_path(listed.path)
        standing, reason = listed.standing()
        if listed.content is None or listed.version is None or (standing != "done" and reason != GROWN):
            why = reason if standing == "stale" else {"failed": "cannot be read"}.get(standing, "is not read yet")
            left_out.setdefault(why, []).append(name)
            continue
        if reason:
            on_warning(f"{name}: {reason}; only what was read then is used: run 'lindoc index' to read on")
        if listed.path == "-":
            yield listed.content, Scoped(name, None, partial(StoredText, store, listed.content))
        else:
            reopen = partial(open_source, Source(name, Path(listed.path)))
            yield listed.content, Scoped(name, None if reason else listed.version.sha256, reopen)
    for reason, names in left_out.items():
        on_warning(_left_out(reason, names))


def _left_out(reason: str, names: Sequence[str]) -> str:
    some = ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
    return f"{len(names)} of the index is left out ({some}): {reason}; run 'lindoc index'"


def shown_path(path: str) -> str:
    """Relative to the working directory if it lies in it."""
    here = os.path.realpath(os.getcwd())
    return os.path.relpath(path, here) if is_below(path, here) else path


class StoredText:
    """Text from standard input that the index was told to keep: there is no other source of it."""

    name = "-"

    def __init__(self, store: Store, key: int):
        self._store, self._key = store, key
        self.kind = store.content(key).kind
        self.size, self.sha256 = 0, ""
        self.report = ReadReport()

    def pieces(self) -> Iterator[Piece]:
        raise DocumentError(self.name, "is not here any more; pipe it in again")

    def read(self, start: int, end: int) -> str:
        """canonical[start:end], which must lie inside one segment."""
        segment = self._store.segment_at(self._key, start)
        return segment.text[start - segment.start : end - segment.start]

    def shown(self, text: str) -> str:
        return text

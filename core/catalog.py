"""Which documents an index holds, under which roots, and whether each is still what its file says."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lindoc.core.database import Database
from lindoc.core.errors import DocumentError
from lindoc.core.formats.sources import Source
from lindoc.core.rows import Version
from lindoc.core.schema import FORMAT_VERSION, check_header

Standing = Literal["done", "pending", "stale", "failed"]
GROWN, CHANGED, GONE = "has grown since it was read", "has changed since it was read", "is gone"


@dataclass(frozen=True, slots=True)
class Listed:
    """A document as the index has it."""

    path: str  # "-" is text from standard input
    content: int | None  # None if nothing of it was read
    version: Version | None
    complete: bool
    segments: int
    tokens: int
    modified: int  # nanoseconds, when it was read
    failure: str | None

    def standing(self) -> tuple[Standing, str]:
        """And why. The file is read only if its time or size differ from those it had."""
        if self.failure is not None:
            return "failed", self.failure
        if self.version is None or not self.complete:
            return "pending", "not read yet" if not self.segments else f"read to segment {self.segments}"
        if self.path == "-":
            return "done", ""
        try:
            found = os.stat(self.path)
            if (found.st_size, found.st_mtime_ns) == (self.version.size, self.modified):
                return "done", ""
            grown = Source(self.path, Path(self.path)).begins_with(self.version.size, self.version.sha256)
        except (OSError, ValueError, DocumentError):
            return "stale", GONE
        if grown and found.st_size == self.version.size:
            return "done", ""
        return "stale", GROWN if grown else CHANGED


class Catalog(Database):
    """The part of the store that knows paths."""

    def listed(self) -> list[Listed]:
        """All documents, by path. Raises StoreError for an index of another format."""
        if (found := self.header().get("format", str(FORMAT_VERSION))) != str(FORMAT_VERSION):
            check_header(self.path, {"format": found}, {"format": str(FORMAT_VERSION)})
        query = (
            "SELECT path, content, sha256, size, reader, complete, coalesce(segments, 0), coalesce(tokens, 0), "
            "modified, failure FROM paths LEFT JOIN contents ON content = id ORDER BY path"
        )
        return [
            Listed(path, key, None if key is None else Version.of(sha256, size, reader), bool(complete), *rest)
            for path, key, sha256, size, reader, complete, *rest in self._rows(query)
        ]

    def is_empty(self) -> bool:
        return not self._rows("SELECT 1 FROM paths LIMIT 1")

    def roots(self) -> list[str]:
        """What `lindoc index` was given."""
        return [root for (root,) in self._rows("SELECT path FROM roots ORDER BY path")]

    def register(self, roots: Iterable[str], paths: Iterable[str]) -> None:
        """These paths are to be read; what cannot be was not tried yet."""
        with self._written():
            self._db.executemany("INSERT OR IGNORE INTO roots VALUES (?)", [(root,) for root in roots])
            self._db.executemany(
                "INSERT INTO paths (path) VALUES (?) ON CONFLICT (path) DO UPDATE SET failure = NULL",
                [(path,) for path in paths],
            )

    def fail(self, path: str, reason: str) -> None:
        """A document cannot be read. What is there of it stays."""
        with self._written():
            self._db.execute("UPDATE paths SET failure = ? WHERE path = ?", (reason, path))

    def drop_missing(self, roots: Sequence[str], found: Collection[str], unseen: Collection[str]) -> int:
        """Remove what lies at or below the roots and was not found there, unless below an `unseen` directory; how
        many."""
        gone = [
            (path, key)
            for path, key in self._rows("SELECT path, content FROM paths")
            if path not in found and any(is_below(path, root) for root in roots)
            if not any(is_below(path, folder) for folder in unseen) or not os.path.exists(path)
        ]
        if gone:
            self._remove(gone)
            self._compact()
        return len(gone)


def is_below(path: str, folder: str) -> bool:
    """Whether a path is the folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)

"""The SQLite file: private, written in transactions, bounded and forgetful."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lindoc.core.errors import StoreError
from lindoc.core.lock import Lock
from lindoc.core.schema import SCHEMA, cache_folder, check_header, header_of, make_private, translated
from lindoc.models.encoder import Encoder

WAIT = 5.0  # seconds for another program's lock
CACHE_LIMIT = 5_000_000_000  # bytes; the contents least recently used go first
D = TypeVar("D", bound="Database")


class Database:
    """Open with `open`; use as a context manager or close it."""

    def __init__(self, connection: sqlite3.Connection, path: str, *, keeps_stdin: bool):
        self._db = connection
        self.path = path
        self.keeps_stdin = keeps_stdin  # text from stdin may go in
        self._lock: Lock | None = None  # kept while documents are read into it

    @classmethod
    def open(cls: type[D], path: Path | None, *, encoder: Encoder | None = None, keeps_stdin: bool = False) -> D:
        """Open or make a store. None is an unlinked temporary one.

        encoder : what it must have been written with; None does not look (enough to forget)
        keeps_stdin : the user named this store, so text from stdin may be kept in it
        """
        name = "temporary index" if path is None else str(path)
        with translated(name):
            if path is not None:
                make_private(path)
            connection = sqlite3.connect("" if path is None else path, timeout=WAIT, isolation_level=None)
            store = cls(connection, name, keeps_stdin=keeps_stdin or path is None)
            store._lock = None if path is None else Lock(path)
            try:
                store._prepare(encoder)
                if path is not None and path.parent == cache_folder():
                    store.trim()
            except BaseException:
                connection.close()
                raise
        return store

    def __enter__(self: D) -> D:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        self.release()
        self._db.close()

    def hold(self) -> None:
        """Keep other programs from reading documents into it; waits a little for one that does. Raises StoreError."""
        if self._lock is not None:
            with translated(self.path):
                self._lock.take(WAIT)

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _prepare(self, encoder: Encoder | None) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON", "foreign_keys = ON"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        with self._written():
            if not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in SCHEMA:
                    self._db.execute(statement)
            if encoder is not None and not self._db.execute("SELECT count(*) FROM header").fetchone()[0]:
                self._db.executemany("INSERT INTO header VALUES (?, ?)", header_of(encoder).items())
            self._db.execute("CREATE TEMP TABLE scope (content INTEGER PRIMARY KEY)")
        if encoder is not None:
            check_header(self.path, self.header(), header_of(encoder))

    def header(self) -> dict[str, str]:
        """What it was written with: format, model, weights, tokenizer."""
        return dict(self._rows("SELECT key, value FROM header"))

    @contextmanager
    def _written(self) -> Iterator[None]:
        """One transaction."""
        with translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with translated(self.path):
            return self._db.execute(query, values).fetchall()

    def forget(self, path: str | Path) -> int:
        """Remove everything kept of a file, or of all files below a directory; returns how many. Nothing of their
        text is left in the file."""
        full = path_key(str(path))
        below = full.rstrip(os.sep) + os.sep
        condition, values = "path = ? OR substr(path, 1, ?) = ?", (full, len(below), below)
        self.hold()
        try:
            found = self._rows(f"SELECT path, content FROM paths WHERE {condition}", values)
            if self._rows("SELECT 1 FROM sqlite_master WHERE name = 'roots'"):  # an earlier format has none
                with self._written():
                    self._db.execute(f"DELETE FROM roots WHERE {condition}", values)
            if found:
                self._remove(found)
                self._compact()
        finally:
            self.release()
        return len(found)

    def _remove(self, paths: Sequence[tuple[str, int | None]]) -> None:
        """paths : and their contents"""
        with self._written():
            for path, key in paths:
                self._db.execute("DELETE FROM paths WHERE path = ?", (path,))
                if key is not None:
                    self._drop_unused(key)

    def trim(self, limit: int | None = None) -> int:
        """Remove the contents least recently used until the file has at most `limit` bytes; returns how many."""
        limit = CACHE_LIMIT if limit is None else limit
        removed = 0
        while self.size() > limit:
            oldest = self._rows("SELECT id FROM contents ORDER BY used LIMIT 1")
            if not oldest:
                break
            with self._written():
                self._db.execute("DELETE FROM paths WHERE content = ?", oldest[0])
                self._drop_unused(oldest[0][0])
            removed += 1
        if removed:
            self._compact()
        return removed

    def size(self) -> int:
        """Bytes in use in the file."""
        pages, free, size = (
            self._rows(f"PRAGMA {name}")[0][0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _drop_unused(self, key: int) -> None:
        if self._db.execute("SELECT 1 FROM paths WHERE content = ?", (key,)).fetchone() is None:
            self._db.execute("DELETE FROM segments WHERE content = ?", (key,))
            self._db.execute("DELETE FROM contents WHERE id = ?", (key,))

    def _compact(self) -> None:
        """Leave no trace of deleted rows: the word index is rewritten, the file too, and the WAL emptied."""
        with translated(self.path):
            for statement in ("INSERT INTO words (words) VALUES ('optimize')", "VACUUM"):
                self._db.execute(statement)
            ((busy, *_),) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if busy:
            raise StoreError(
                f"{self.path}: is in use by another program, so traces of what was removed stay in {self.path}-wal "
                "until it ends; run the command again then"
            )


def path_key(path: str) -> str:
    """A path as the store knows it; "-" is stdin."""
    return path if path == "-" else os.path.realpath(os.path.expanduser(path))

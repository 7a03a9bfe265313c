"""What was read is kept: one SQLite file of texts, places, vectors and the state of what is still being read."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lindoc.core.documents import Segment
from lindoc.core.errors import StoreError
from lindoc.core.rows import (
    Content,
    Row,
    dump_encoding,
    dump_marks,
    dump_state,
    load_encoding,
    load_marks,
    load_state,
)
from lindoc.core.schema import (
    SCHEMA,
    cache_folder,
    check_header,
    default_store_path,
    header_of,
    identifier_parts,
    make_private,
    store_files,
    translated,
)
from lindoc.models.encoder import Encoder, Encoding, State

__all__ = ["Content", "Row", "Store", "default_store_path", "store_files"]

WAIT = 5.0  # seconds for another program's lock
CACHE_LIMIT = 5_000_000_000  # bytes; the contents least recently used go first
Vector = NDArray[np.float32]


class Store:
    """Open with `Store.open`; use as a context manager or close it."""

    def __init__(self, connection: sqlite3.Connection, path: str, *, keeps_stdin: bool):
        self._db = connection
        self.path = path
        self.keeps_stdin = keeps_stdin  # text from stdin may go in

    @classmethod
    def open(cls, path: Path | None, *, encoder: Encoder | None = None, keeps_stdin: bool = False) -> Store:
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
            try:
                store._prepare(encoder)
                if path is not None and path.parent == cache_folder():
                    store.trim()
            except BaseException:
                connection.close()
                raise
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

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
        found = dict(self._db.execute("SELECT key, value FROM header").fetchall())
        if encoder is not None:
            check_header(self.path, found, header_of(encoder))

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

    # Writing

    def begin(self, path: str, sha256: str, reader: str, kind: str) -> Content:
        """The content that `path` now has, kept from before or new. What the path had before is removed if nothing
        else has it; of an unfinished content the segments after its state are, and it is resumed from there."""
        with self._written():
            self._db.execute(
                "INSERT INTO contents (sha256, reader, kind) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (sha256, reader, kind),
            )
            (key,) = self._db.execute(
                "SELECT id FROM contents WHERE sha256 = ? AND reader = ?", (sha256, reader)
            ).fetchone()
            before = self._db.execute("SELECT content FROM paths WHERE path = ?", (path,)).fetchone()
            self._db.execute("INSERT OR REPLACE INTO paths VALUES (?, ?)", (path, key))
            self._db.execute("UPDATE contents SET used = ? WHERE id = ?", (time.time(), key))
            if before is not None and before[0] != key:
                self._drop_unused(before[0])
            self._db.execute(
                "DELETE FROM segments WHERE content = ?1 AND idx >= (SELECT segments FROM contents WHERE id = ?1)",
                (key,),
            )
        return self.content(key)

    def write(self, key: int, rows: Sequence[Row], state: State) -> None:
        """Add the next segments of a content and the state after them, at once."""
        with self._written():
            for row in rows:
                segment = row.segment
                self._db.execute(
                    "INSERT INTO segments (content, idx, start, tokens, text, identifiers, marks, encoding, vector, "
                    "sentences) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(key, segment.index, segment.start, segment.tokens, segment.text),
                        *(" ".join(identifier_parts(segment.text)), dump_marks(segment.marks)),
                        *(dump_encoding(row.encoding), row.vector.astype(np.float32).tobytes()),
                        row.sentences.astype(np.float32).tobytes(),
                    ),
                )
            last = rows[-1].segment
            self._db.execute(
                "UPDATE contents SET segments = ?, length = ?, tokens = tokens + ?, unknown = unknown + ?, state = ? "
                "WHERE id = ?",
                (
                    *(last.index + 1, last.end, sum(row.segment.tokens for row in rows)),
                    *(sum(row.encoding.unknown for row in rows), dump_state(state), key),
                ),
            )

    def finish(self, key: int, vector: Vector, warnings: Sequence[str]) -> None:
        """The content was read to its end. vector : (D,), the document's, L2-normalised"""
        with self._written():
            self._db.execute(
                "UPDATE contents SET complete = 1, state = NULL, vector = ?, warnings = ? WHERE id = ?",
                (vector.astype(np.float32).tobytes(), json.dumps(list(warnings)), key),
            )

    def forget(self, path: str | Path) -> int:
        """Remove everything kept of a file, or of all files below a directory; returns how many. Nothing of their
        text is left in the file."""
        full = path_key(str(path))
        below = full.rstrip(os.sep) + os.sep
        with self._written():
            found = self._db.execute(
                "SELECT path, content FROM paths WHERE path = ? OR substr(path, 1, ?) = ?", (full, len(below), below)
            ).fetchall()
            for name, key in found:
                self._db.execute("DELETE FROM paths WHERE path = ?", (name,))
                self._drop_unused(key)
        if found:
            self._compact()
        return len(found)

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
            for statement in (
                "INSERT INTO words (words) VALUES ('optimize')",
                "VACUUM",
                "PRAGMA wal_checkpoint(TRUNCATE)",
            ):
                self._db.execute(statement).fetchall()

    # Reading

    def content(self, key: int) -> Content:
        ((kind, complete, segments, length, tokens, unknown, warnings),) = self._rows(
            "SELECT kind, complete, segments, length, tokens, unknown, warnings FROM contents WHERE id = ?", (key,)
        )
        return Content(key, kind, bool(complete), segments, length, tokens, unknown, tuple(json.loads(warnings)))

    def state(self, key: int, device: torch.device) -> State:
        """The state after the last stored segment of an unfinished content; None is the empty one."""
        ((blob,),) = self._rows("SELECT state FROM contents WHERE id = ?", (key,))
        return None if blob is None else load_state(blob, device)

    def document_vector(self, key: int) -> Vector:
        ((blob,),) = self._rows("SELECT vector FROM contents WHERE id = ?", (key,))
        return np.frombuffer(blob, np.float32)

    def vectors(self, key: int) -> Iterator[tuple[int, int, Vector]]:
        """(row id, tokens, vector as pooled) of a content's segments, in order."""
        query = "SELECT id, tokens, vector FROM segments WHERE content = ? ORDER BY idx"
        with translated(self.path):
            for row, tokens, blob in self._db.execute(query, (key,)):
                yield row, tokens, np.frombuffer(blob, np.float32)

    def segment(self, row: int) -> tuple[int, Segment]:
        """The content a row belongs to, and its segment."""
        found = self._rows("SELECT content, idx, start, text, marks, tokens FROM segments WHERE id = ?", (row,))
        if not found:
            raise StoreError(f"{self.path}: segment {row} has gone; was it forgotten meanwhile?")
        ((key, index, start, text, marks, tokens),) = found
        return key, Segment(index, start, text, load_marks(marks), tokens)

    def encoding(self, row: int) -> Encoding:
        """Tokens of a segment, as they were encoded."""
        ((blob,),) = self._rows("SELECT encoding FROM segments WHERE id = ?", (row,))
        return load_encoding(blob)

    def sentences(self, key: int) -> Iterator[tuple[int, int, str, NDArray[np.float32]]]:
        """(row id, start, text, sentences (S, 3)) of a content's segments, in order."""
        query = "SELECT id, start, text, sentences FROM segments WHERE content = ? ORDER BY idx"
        with translated(self.path):
            for row, start, text, blob in self._db.execute(query, (key,)):
                yield row, start, text, np.frombuffer(blob, np.float32).reshape(-1, 3)

    def set_scope(self, keys: Sequence[int]) -> None:
        """The contents that `words` looks at."""
        with translated(self.path):
            self._db.execute("DELETE FROM scope")
            self._db.executemany("INSERT INTO scope VALUES (?)", [(key,) for key in keys])

    def words(self, query: str, limit: int) -> list[tuple[int, float]]:
        """(row id, BM25, higher is better) of the segments in scope that match an FTS5 query, best first."""
        return self._rows(
            "SELECT s.id, -bm25(words, 1.0, 0.5) AS score FROM words JOIN segments s ON s.id = words.rowid "
            "JOIN scope ON scope.content = s.content WHERE words MATCH ? ORDER BY score DESC, s.id LIMIT ?",
            (query, limit),
        )


def path_key(path: str) -> str:
    """A path as the store knows it; "-" is stdin."""
    return path if path == "-" else os.path.realpath(os.path.expanduser(path))

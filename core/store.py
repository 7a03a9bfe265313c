"""What was read is kept: one SQLite file of texts, places, vectors and states."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lindoc.core.database import Database, path_key
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
from lindoc.core.schema import default_store_path, identifier_parts, store_files, translated
from lindoc.core.stream import STATE_EVERY
from lindoc.core.tasks.embed import Vector, normalized
from lindoc.models.encoder import Encoding, State

__all__ = ["Content", "Row", "Store", "default_store_path", "path_key", "store_files"]


class Store(Database):
    """Open with `Store.open`; use as a context manager or close it."""

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
        """Add the next segments of a content and the state after them, at once. Of the states before, those after
        every STATE_EVERY segments stay."""
        with self._written():
            self._add(key, rows)
            self._db.execute("DELETE FROM states WHERE content = ? AND segments % ? <> 0", (key, STATE_EVERY))
            self._db.execute(
                "INSERT INTO states VALUES (?, ?, ?)", (key, rows[-1].segment.index + 1, dump_state(state))
            )

    def finish(self, key: int, rows: Sequence[Row], vector: Vector, warnings: Sequence[str]) -> None:
        """Add the last segments of a content, if any are left, at once. Of its states there stay those after every
        STATE_EVERY segments and, if it has more segments than that, the one before the last, which is still open.

        vector : (D,), the document's, as pooled, not normalised
        """
        with self._written():
            self._add(key, rows)
            self._db.execute(
                "UPDATE contents SET complete = 1, vector = ?, warnings = ? WHERE id = ?",
                (vector.astype(np.float32).tobytes(), json.dumps(list(warnings)), key),
            )
            (count,) = self._db.execute("SELECT segments FROM contents WHERE id = ?", (key,)).fetchone()
            self._db.execute(
                "DELETE FROM states WHERE content = ?1 AND NOT (segments < ?2 AND (segments % ?3 = 0 OR "
                "(segments = ?2 - 1 AND ?2 > ?3)))",
                (key, count, STATE_EVERY),
            )

    def _add(self, key: int, rows: Sequence[Row]) -> None:
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
            self._db.execute(
                "UPDATE contents SET segments = ?, length = ?, tokens = tokens + ?, unknown = unknown + ? WHERE id = ?",
                (segment.index + 1, segment.end, segment.tokens, row.encoding.unknown, key),
            )

    # Reading

    def content(self, key: int) -> Content:
        ((kind, complete, segments, length, tokens, unknown, warnings),) = self._rows(
            "SELECT kind, complete, segments, length, tokens, unknown, warnings FROM contents WHERE id = ?", (key,)
        )
        return Content(key, kind, bool(complete), segments, length, tokens, unknown, tuple(json.loads(warnings)))

    def state(self, key: int, segments: int, device: torch.device) -> State:
        """The state after the first `segments` segments of a content, one of those kept; None is the empty one."""
        if not segments:
            return None
        ((blob,),) = self._rows("SELECT state FROM states WHERE content = ? AND segments = ?", (key, segments))
        return load_state(blob, device)

    def document_vector(self, key: int, dim: int | None = None) -> Vector:
        """(dim,), L2-normalised."""
        ((blob,),) = self._rows("SELECT vector FROM contents WHERE id = ?", (key,))
        return normalized(np.frombuffer(blob, np.float32), dim)

    def vectors(self, key: int) -> Iterator[tuple[int, int, Vector]]:
        """(row id, tokens, vector as pooled) of a content's segments, in order."""
        query = "SELECT id, tokens, vector FROM segments WHERE content = ? ORDER BY idx"
        with translated(self.path):
            for row, tokens, blob in self._db.execute(query, (key,)):
                yield row, tokens, np.frombuffer(blob, np.float32)

    def segments(self, key: int, start: int, stop: int) -> Iterator[tuple[Segment, Vector]]:
        """Segments `start` to `stop` (half-open) of a content and their vectors as pooled, in order."""
        query = (
            "SELECT idx, start, text, marks, tokens, vector FROM segments "
            "WHERE content = ? AND idx >= ? AND idx < ? ORDER BY idx"
        )
        with translated(self.path):
            for index, begin, text, marks, tokens, blob in self._db.execute(query, (key, start, stop)):
                yield Segment(index, begin, text, load_marks(marks), tokens), np.frombuffer(blob, np.float32)

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

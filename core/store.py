"""What was read is kept: one SQLite file of texts, places, vectors and states."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lindoc.core.borders import Border
from lindoc.core.catalog import Catalog
from lindoc.core.database import path_key
from lindoc.core.documents import Segment
from lindoc.core.errors import StoreError
from lindoc.core.rows import (
    Content,
    Row,
    Version,
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

SEGMENT_COLUMNS = "idx, start, tokens, unknown, text, identifiers, marks, encoding, vector, sentences"
STATE_COLUMNS = "segments, start, settle, digest, kept, state"
__all__ = ["Content", "Row", "Store", "Version", "default_store_path", "path_key", "store_files"]


class Store(Catalog):
    """Open with `Store.open`; use as a context manager or close it."""

    # Versions of documents

    def known(self, path: str, version: Version) -> Content | None:
        """The content that `path` has, if it is this version."""
        found = self._rows(
            "SELECT id FROM contents JOIN paths ON content = id WHERE path = ? AND sha256 = ? AND reader = ?",
            (path, version.sha256, version.reader),
        )
        return self.content(found[0][0]) if found else None

    def holding(self, version: Version) -> int | None:
        """The content of these bytes, read so, wherever they lie."""
        query = "SELECT id FROM contents WHERE sha256 = ? AND reader = ?"
        found = self._rows(query, (version.sha256, version.reader))
        return int(found[0][0]) if found else None

    def before(self, path: str, version: Version) -> int | None:
        """The content that `path` had before this version, if that is nowhere yet and was read in the same way."""
        if self.holding(version) is not None:
            return None
        query = "SELECT id FROM contents JOIN paths ON content = id WHERE path = ? AND reader = ?"
        found = self._rows(query, (path, version.reader))
        return int(found[0][0]) if found else None

    def last_read(self, path: str) -> Version | None:
        """The version of the document at `path` that was read last."""
        query = "SELECT sha256, size, reader FROM contents JOIN paths ON content = id WHERE path = ?"
        found = self._rows(query, (path,))
        return Version.of(*found[0]) if found else None

    def borders(self, key: int) -> list[Border]:
        """Those that there are states of, in order."""
        query = "SELECT segments, start, settle, digest FROM states WHERE content = ? ORDER BY segments"
        return [Border(*values) for values in self._rows(query, (key,))]

    def border(self, key: int, segments: int) -> Border | None:
        """The one after so many segments, which must be there; None is the start of the document."""
        return next((border for border in self.borders(key) if border.segments == segments), None)

    def touch(self, path: str, key: int, modified: int) -> None:
        """The content was used, and `path` still has it."""
        with self._written():
            self._db.execute("UPDATE contents SET used = ? WHERE id = ?", (time.time(), key))
            self._db.execute("UPDATE paths SET modified = ?, failure = NULL WHERE path = ?", (modified, path))

    def begin(
        self, path: str, version: Version, *, modified: int = 0, inherited: tuple[int, Border] | None = None
    ) -> Content:
        """The content that `path` now has, kept from before or new. What the path had before is removed if nothing
        else has it; of an unfinished content the segments after its state are, and it is resumed from there.

        inherited : a content and a border of it up to which a new one is the same
        """
        with self._written():
            key = self._key_of(version, path, inherited)
            before = self._db.execute("SELECT content FROM paths WHERE path = ?", (path,)).fetchone()
            self._db.execute(
                "INSERT INTO paths (path, content, modified) VALUES (?1, ?2, ?3) ON CONFLICT (path) DO UPDATE SET "
                "content = ?2, modified = ?3, failure = NULL",
                (path, key, modified),
            )
            self._db.execute("UPDATE contents SET used = ? WHERE id = ?", (time.time(), key))
            if before is not None and before[0] not in (None, key):
                self._drop_unused(before[0])
            self._db.execute(
                "DELETE FROM segments WHERE content = ?1 AND idx >= (SELECT segments FROM contents WHERE id = ?1)",
                (key,),
            )
        return self.content(key)

    def _key_of(self, version: Version, path: str, inherited: tuple[int, Border] | None) -> int:
        """The content of this version, which is made if there is none."""
        if (held := self.holding(version)) is not None:
            return held
        values = (version.sha256, version.size, version.reader, version.decisions.kind)
        if inherited is None:
            return self._insert(values)
        key, border = inherited
        shared = self._db.execute("SELECT 1 FROM paths WHERE content = ? AND path <> ?", (key, path)).fetchone()
        if shared is None:
            self._db.execute(
                "UPDATE contents SET sha256 = ?, size = ?, reader = ?, kind = ? WHERE id = ?", (*values, key)
            )
        else:
            copied, key = key, self._insert(values)
            for table, columns in (("segments", SEGMENT_COLUMNS), ("states", STATE_COLUMNS)):
                self._db.execute(
                    f"INSERT INTO {table} (content, {columns}) SELECT ?, {columns} FROM {table} WHERE content = ?",
                    (key, copied),
                )
        self._cut(key, border.segments)
        return key

    def _insert(self, values: tuple[str, int, str, str]) -> int:
        query = "INSERT INTO contents (sha256, size, reader, kind) VALUES (?, ?, ?, ?)"
        return int(self._db.execute(query, values).lastrowid or 0)

    def _cut(self, key: int, segments: int) -> None:
        """Leave the first segments of a content, which is unfinished then."""
        self._db.execute("DELETE FROM segments WHERE content = ? AND idx >= ?", (key, segments))
        self._db.execute("DELETE FROM states WHERE content = ? AND segments > ?", (key, segments))
        self._db.execute("UPDATE states SET kept = 0 WHERE content = ? AND segments % ? <> 0", (key, STATE_EVERY))
        query = "SELECT start, text FROM segments WHERE content = ? AND idx = ?"
        ((start, text),) = self._db.execute(query, (key, segments - 1)).fetchall()
        self._db.execute(
            "UPDATE contents SET complete = 0, vector = NULL, warnings = '[]', segments = ?2, length = ?3, "
            "(tokens, unknown) = (SELECT sum(tokens), sum(unknown) FROM segments WHERE content = ?1) WHERE id = ?1",
            (key, segments, start + len(text)),
        )

    # Writing

    def write(self, key: int, rows: Sequence[Row], state: State, after: Border) -> None:
        """Add the next segments of a content and the state at the border after them, at once. Of the states before,
        those stay that a row has asked for."""
        with self._written():
            self._add(key, rows)
            self._db.execute("DELETE FROM states WHERE content = ? AND kept = 0", (key,))
            self._db.execute(
                "INSERT INTO states (content, segments, start, settle, digest, state) VALUES (?, ?, ?, ?, ?, ?)",
                (key, after.segments, after.begin, after.settle, after.digest, dump_state(state)),
            )

    def finish(self, key: int, rows: Sequence[Row], vector: Vector, warnings: Sequence[str]) -> None:
        """Add the last segments of a content, if any are left, at once. Of its states those stay that a row has asked
        for: one every STATE_EVERY segments and, if it has more segments than that, the one before the last.

        vector : (D,), the document's, as pooled, not normalised
        """
        with self._written():
            self._add(key, rows)
            self._db.execute(
                "UPDATE contents SET complete = 1, vector = ?, warnings = ? WHERE id = ?",
                (vector.astype(np.float32).tobytes(), json.dumps(list(warnings)), key),
            )
            self._db.execute("DELETE FROM states WHERE content = ? AND kept = 0", (key,))

    def _add(self, key: int, rows: Sequence[Row]) -> None:
        for row in rows:
            segment = row.segment
            if row.border:
                query = "UPDATE states SET kept = 1 WHERE content = ? AND segments = ?"
                self._db.execute(query, (key, segment.index))
            self._db.execute(
                f"INSERT INTO segments (content, {SEGMENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(key, segment.index, segment.start, segment.tokens, row.encoding.unknown, segment.text),
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

    def counted(self, key: int, segments: int) -> Iterator[tuple[int, int, Vector]]:
        """(tokens, unknown tokens, vector as pooled) of the first segments of a content, in order."""
        query = "SELECT tokens, unknown, vector FROM segments WHERE content = ? AND idx < ? ORDER BY idx"
        with translated(self.path):
            for tokens, unknown, blob in self._db.execute(query, (key, segments)):
                yield tokens, unknown, np.frombuffer(blob, np.float32)

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

    def segment_at(self, key: int, offset: int) -> Segment:
        """The segment of a content that an offset lies in."""
        query = "SELECT id FROM segments WHERE content = ? AND start <= ? ORDER BY start DESC LIMIT 1"
        ((row,),) = self._rows(query, (key, offset))
        return self.segment(row)[1]

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

"""What the reading tests share: a tokenizer, documents from bytes, and the laws every document must keep."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from lindoc.core.documents import Document, Segment
from lindoc.core.formats import Source, open_document
from lindoc.core.segments import segments
from lindoc.models.encoder import Encoding, Tokenizer

ROOT = Path(__file__).resolve().parents[2]
CONTENTS = "sha256, size, reader, kind, complete, segments, length, tokens, unknown, warnings, vector"
SEGMENTS = "idx, start, tokens, unknown, text, identifiers, marks, encoding, vector, sentences"
STATES = "segments, start, settle, digest, kept, state"


class WordPiece:
    """A Tokenizer over MiniLM's tokenizer.json."""

    def __init__(self, path: Path):
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._unknown: int = self._tokenizer.token_to_id("[UNK]") or 0

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [Encoding(tuple(one.ids), tuple(one.offsets), one.ids.count(self._unknown)) for one in encoded]


@pytest.fixture(scope="session")
def wordpiece() -> Tokenizer:
    return WordPiece(ROOT / "models" / "lindoc_small" / "tokenizer.json")


@pytest.fixture
def document(tmp_path: Path) -> Callable[..., Document]:
    """document(name, text or bytes, **options): written to a file and opened."""

    def make(name: str, content: str | bytes, **options: str) -> Document:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return open_document(Source(name, path), **options)

    return make


@pytest.fixture(scope="session")
def lawful(wordpiece: Tokenizer) -> Callable[..., list[Segment]]:
    """lawful(document, limit): pieces are contiguous, nothing is lost or read twice, every place is found again in
    the source. Returns the segments."""

    def check(document: Document, limit: int = 254) -> list[Segment]:
        text = _contiguous(document)
        owners, covered = bytearray(len(text)), bytearray(len(text))
        found = list(segments(document, wordpiece, limit))
        for index, (segment, encoding) in enumerate(found):
            assert segment.index == index
            assert text[segment.start : segment.end] == segment.text
            assert 0 < segment.tokens == len(encoding.ids) == len(encoding.offsets) <= limit
            for offset in range(segment.start, segment.end):
                owners[offset] += 1
            for start, end in encoding.offsets:
                assert 0 <= start <= end <= len(segment.text)
                covered[segment.start + start : segment.start + end] = b"\1" * (end - start)
        for offset, char in enumerate(text):
            assert char.isspace() or (owners[offset] == 1 and covered[offset] == 1), (offset, char)
        for segment, _ in found[:: max(len(found) // 20, 1)]:
            assert document.read(segment.start, segment.end) == segment.text
        return [segment for segment, _ in found]

    return check


def _contiguous(document: Document) -> str:
    parts, at = [], 0
    for piece in document.pieces():
        assert piece.start == at
        parts.append(piece.text)
        at = piece.end
    return "".join(parts)


@pytest.fixture(scope="session")
def pdf() -> Callable[[Sequence[str | None]], bytes]:
    """pdf(pages): a PDF with these lines of text a page; None is a page that is an image."""
    return _pdf


def _pdf(pages: Sequence[str | None]) -> bytes:
    image = b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8 "
    kids = " ".join(f"{5 + 2 * index} 0 R" for index in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        image + b"/Length 1 >>\nstream\n\x80\nendstream",
    ]
    for index, page in enumerate(pages):
        resources = "/Font << /F 3 0 R >> /XObject << /I 4 0 R >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {6 + 2 * index} 0 R "
            f"/Resources << {resources} >> >>".encode()
        )
        lines = "".join(f"({line}) Tj T* " for line in (page or "").split("\n"))
        drawn = f"BT /F 11 Tf 14 TL 50 740 Td {lines}ET" if page is not None else "612 0 0 792 0 0 cm /I Do"
        stream = drawn.encode("cp1252")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    return _assembled(objects)


def _assembled(objects: Sequence[bytes]) -> bytes:
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return bytes(out) + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


@pytest.fixture(scope="session")
def dump() -> Callable[[Path], list[Any]]:
    """dump(path): everything an index holds but row ids and times; its word index is checked against its rows."""
    return _dump


def _dump(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    keys = [key for (key,) in connection.execute("SELECT id FROM contents ORDER BY sha256, reader")]
    found: list[Any] = [connection.execute(f"SELECT {CONTENTS} FROM contents ORDER BY sha256, reader").fetchall()]
    for key in keys:
        for table, columns, order in (("segments", SEGMENTS, "idx"), ("states", STATES, "segments")):
            query = f"SELECT {columns} FROM {table} WHERE content = ? ORDER BY {order}"
            found.append(connection.execute(query, (key,)).fetchall())
    counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("segments", "states")]
    connection.close()
    assert counts == [sum(map(len, found[1::2])), sum(map(len, found[2::2]))]  # nothing of no content
    return found

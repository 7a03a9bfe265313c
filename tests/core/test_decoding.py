"""Bytes to text: byte order mark, UTF-8, charset-normalizer, a clear error; bounded memory."""

from __future__ import annotations

import codecs
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from lindoc.core.documents import Document, Piece, Segment
from lindoc.core.errors import DocumentError
from lindoc.core.formats import Source, open_document

Make = Callable[..., Document]
Lawful = Callable[..., list[Segment]]

GERMAN = "Die Prüfung der Verträge ist abgeschlossen. Für Rückfragen stehen wir jederzeit zur Verfügung.\n" * 5


def canonical(document: Document) -> str:
    return "".join(piece.text for piece in document.pieces())


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
def test_a_byte_order_mark_decides_and_is_no_text(mark: bytes, encoding: str, document: Make) -> None:
    opened = document("bom.txt", mark + GERMAN.encode(encoding))
    assert canonical(opened) == GERMAN
    assert opened.read(4, 11) == "Prüfung"


def test_what_is_not_utf8_is_told_by_its_letters(document: Make, lawful: Lawful) -> None:
    opened = document("old.txt", GERMAN.encode("cp1252"))
    assert canonical(opened) == GERMAN
    lawful(opened)


def test_an_encoding_can_be_named(document: Make) -> None:
    assert canonical(document("old.txt", "Prüfung €".encode("cp1252"), encoding="cp1252")) == "Prüfung €"
    with pytest.raises(DocumentError, match="unknown encoding 'klingon'"):
        document("old.txt", "x", encoding="klingon")


def test_newlines_are_left_as_they_are(document: Make, lawful: Lawful) -> None:
    text = "one\r\ntwo\r\n\r\nthree\rfour\u2028five\n"
    opened = document("mixed.txt", text)
    assert canonical(opened) == text
    lawful(opened)


def test_undecodable_bytes_far_in_are_named_with_their_line_and_survived(document: Make, lawful: Lawful) -> None:
    line = b"a line of plain words that goes on for a while\n"
    opened = document("late.txt", line * 40_000 + b"caf\xe9 closed\n" + line)
    text = canonical(opened)
    assert "caf\ufffd closed" in text
    assert opened.report.failures == [
        "line 40001: bytes that are not utf-8, read as U+FFFD; name another with --encoding"
    ]
    at = text.index("closed")
    assert opened.read(at, at + 6) == "closed"


@pytest.mark.parametrize("content", [b"\x7fELF\x02\x01\x01\x00\x00", b"text at first\n" * 20 + b"\x00\x01"])
def test_a_binary_posing_as_text(content: bytes, document: Make) -> None:
    with pytest.raises(DocumentError, match=r"posing\.txt: is binary, not text"):
        document("posing.txt", content)


def test_bytes_of_no_encoding(document: Make) -> None:
    noise = bytes(range(0x80, 0x100)) * 40
    with pytest.raises(DocumentError, match=r"is binary|cannot be told; name it with --encoding"):
        document("noise.txt", noise)


@pytest.mark.parametrize(("content", "reason"), [(b"", "is empty"), (b" \n\t\n", "holds nothing but white space")])
def test_an_empty_file(content: bytes, reason: str, document: Make) -> None:
    with pytest.raises(DocumentError, match=rf"void\.txt: {reason}"):
        document("void.txt", content)


def test_one_line_of_50_megabytes_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    with path.open("wb") as handle:
        for _ in range(50):
            handle.write(b"word " * 200_000)
    tracemalloc.start()
    opened = open_document(Source("line.txt", path))
    length = 0
    for piece in opened.pieces():
        assert isinstance(piece, Piece) and len(piece.text) < 20_000
        length += len(piece.text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert length == 50_000_000
    assert peak < 16_000_000
    assert opened.read(49_999_995, 50_000_000) == "word "

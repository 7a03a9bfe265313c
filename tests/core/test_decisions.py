"""What was decided from a file's first megabyte holds while it only grows; a contradiction is said, with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lindoc.core.documents import Decisions, Document
from lindoc.core.errors import DocumentError
from lindoc.core.formats import Source, open_document
from lindoc.core.formats.reading import Before

CHAT = "".join(f"[10:{minute:02d}] <ann> is build {minute} any better?\n" for minute in range(10))
PROSE = "".join(f"On day {day} the ship lay still, and nobody had slept.\n" for day in range(6))
OTHER = "".join(f"1/{day}/24, 10:0{day} - Bob: this is written another way\n" for day in range(1, 6))

Grow = Callable[[bytes, bytes], Document]


@pytest.fixture
def grown(tmp_path: Path) -> Grow:
    """grown(first, more): a file that was read as `first` and then grew."""

    def make(first: bytes, more: bytes, name: str = "log.txt", **options: str) -> Document:
        source = Source(name, tmp_path / name)
        (tmp_path / name).write_bytes(first)
        opened = open_document(source)
        assert opened.report.decisions is not None
        before = Before(opened.size, opened.sha256, opened.report.decisions)
        (tmp_path / name).write_bytes(first + more)
        return open_document(source, before=before, **options)

    return make


def canonical(document: Document) -> str:
    return "".join(piece.text for piece in document.pieces())


def test_the_same_decision_is_not_worth_a_word(grown: Grow) -> None:
    opened = grown(PROSE.encode(), PROSE.encode())
    assert opened.kind == "text" and opened.report.warnings == []
    assert opened.report.decisions == Decisions("text", "utf-8")


def test_the_kind_is_kept_though_the_whole_would_be_another(grown: Grow) -> None:
    opened = grown(PROSE.encode(), CHAT.encode() * 3)
    (said,) = opened.report.warnings
    assert opened.kind == "text"
    assert said.startswith("line 7: ") and "chat (irc, utf-8)" in said and "text (utf-8)" in said and "forget" in said


def test_the_encoding_is_kept_and_the_bytes_that_contradict_it_are_named(grown: Grow) -> None:
    opened = grown(PROSE.encode(), "Die Prüfung der Verträge ist für heute abgeschlossen.\n".encode("cp1252") * 9)
    assert opened.report.decisions == Decisions("text", "utf-8")
    assert canonical(opened).startswith(PROSE) and "Pr\ufffdfung" in canonical(opened)
    assert any(said.startswith("line 7: bytes that are not utf-8") for said in opened.report.failures)
    assert any(said.startswith("line 7: with what follows") for said in opened.report.warnings)


def test_what_could_not_be_opened_now_is_still_read_as_before(grown: Grow) -> None:
    opened = grown(PROSE.encode(), b"\x00\x01\x02\n")
    assert opened.kind == "text" and canonical(opened).startswith(PROSE)
    assert any("is binary" in said for said in opened.report.warnings)


def test_an_encoding_that_is_named_wins(grown: Grow) -> None:
    opened = grown(PROSE.encode(), "für\n".encode("cp1252"), encoding="cp1252")  # type: ignore[call-arg]
    assert canonical(opened).endswith("für\n") and opened.report.warnings == []


def test_a_file_that_did_not_only_grow_is_decided_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    before = Before(len(PROSE), "0" * 64, Decisions("text", "utf-8"))
    path.write_text(CHAT)
    assert open_document(Source("log.txt", path), before=before).kind == "chat"
    path.write_bytes(b"\x00\x01")
    with pytest.raises(DocumentError, match="binary"):
        open_document(Source("log.txt", path), before=before)


@pytest.mark.parametrize("more", [OTHER, OTHER.replace("\n", "\n\n")])
def test_messages_that_begin_to_be_written_another_way_are_reported_once(
    more: str, document: Callable[..., Document]
) -> None:
    opened = document("log.txt", CHAT * 10 + more)
    for _ in range(2):
        assert canonical(opened) == CHAT * 10 + more
        (said,) = opened.report.warnings
        assert said.startswith("line 101: messages begin to be written as whatsapp-android")


def test_a_long_message_is_no_other_way_of_writing(document: Callable[..., Document]) -> None:
    opened = document("log.txt", CHAT + PROSE + "[12:00] <bob> so much for the log\n" + CHAT)
    canonical(opened)
    assert opened.report.warnings == []

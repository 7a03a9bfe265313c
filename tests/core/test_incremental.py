"""A document that changed is read from the last kept state before the change, and nothing differs from a rebuild."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lindoc.core.documents import Piece
from lindoc.core.errors import DocumentError
from lindoc.core.formats import Source
from lindoc.core.formats.text import TextDocument
from lindoc.core.pipeline import Library
from lindoc.core.segments import segments
from lindoc.core.store import Store


def prose(count: int, first: int = 0) -> str:
    """As many segments of the tiny encoder, each a paragraph."""
    return "".join(
        f"Paragraph {at} tells in some more words than would fit twice what happened on day {at} in getUserName.\n\n"
        for at in range(first, first + count)
    )


def chat(count: int) -> str:
    return "".join(
        f"[{at // 60 % 24:02d}:{at % 60:02d}] <ann> message {at} says that somebody has broken the build once more "
        "and that nobody knows why\n"
        for at in range(count)
    )


def code(count: int) -> str:
    return "".join(
        f"def area_{at}(width, height):\n    factor = {at}  # how much of it is filled by this\n"
        "    return factor * width * height\n\n\n"
        for at in range(count)
    )


class Index:
    """An index of one file, updated step by step."""

    def __init__(self, folder: Path, make_encoder: Callable[..., Any], dump: Callable[[Path], list[Any]]):
        self.folder, self.make_encoder, self.dump = folder, make_encoder, dump

    def read(self, name: str, text: str | bytes, index: str = "kept.sqlite") -> int:
        """Windows encoded to bring the index up to date."""
        encoder, file = self.make_encoder(dim=64), self.folder / name
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        with Store.open(self.folder / index, encoder=encoder) as store:
            library = Library(encoder, store, block=5)
            assert library.read([Source(name, file)]) == 1
        windows: int = encoder.windows_encoded
        return windows

    def rebuilt(self, name: str, text: str | bytes) -> int:
        """Windows of a rebuild, which must be equal."""
        (self.folder / "fresh.sqlite").unlink(missing_ok=True)
        windows = self.read(name, text, "fresh.sqlite")
        assert self.dump(self.folder / "kept.sqlite") == self.dump(self.folder / "fresh.sqlite")
        return windows


@pytest.fixture(autouse=True)
def states_every_64_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ingest", "store", "stream"):
        monkeypatch.setattr(f"lindoc.core.{module}.STATE_EVERY", 64)


@pytest.fixture
def index(tmp_path: Path, make_encoder: Callable[..., Any], dump: Callable[[Path], list[Any]]) -> Index:
    return Index(tmp_path, make_encoder, dump)


@pytest.mark.parametrize("write", [prose, chat, code])
def test_an_appended_file_costs_what_was_appended(write: Callable[[int], str], index: Index) -> None:
    name = "a.py" if write is code else "a.txt"
    first = index.read(name, write(80))
    assert first > 70
    read = index.read(name, write(120))
    assert read <= index.rebuilt(name, write(120)) - first + 1
    assert index.read(name, write(120)) == 0


@pytest.mark.parametrize("cut", ["word", "line", "heading", "nothing"])
def test_a_text_may_have_ended_anywhere(cut: str, index: Index) -> None:
    text = prose(80)
    at = {"word": text.rindex("some"), "line": len(text) - 1, "heading": text.index("Paragraph 75") + 9, "nothing": 0}
    more = {"word": "", "line": "", "heading": " TWO\n\nis the second.", "nothing": "\nARTICLE II\n"}
    before = text[: at[cut] or None]
    index.read("a.txt", before)
    after = (text if not more[cut] else before) + more[cut] + prose(5)
    assert index.read("a.txt", after) <= 17
    index.rebuilt("a.txt", after)


@pytest.mark.parametrize("paragraph", [3, 63, 65, 110, 131])
def test_a_change_is_read_from_the_state_before_it(paragraph: int, index: Index) -> None:
    text = prose(140)
    index.read("a.txt", text)
    changed = text.replace(f"Paragraph {paragraph} tells", f"Paragraph {paragraph} now tells")
    read = index.read("a.txt", changed)
    assert read == index.rebuilt("a.txt", changed) - (paragraph - 1) // 64 * 64


@pytest.mark.parametrize(("keep", "kept"), [(134, 128), (90, 64), (30, 0)])
def test_a_text_that_was_cut_short(keep: int, kept: int, index: Index) -> None:
    index.read("a.txt", prose(140))
    assert index.read("a.txt", prose(keep)) == index.rebuilt("a.txt", prose(keep)) - kept


def test_another_text_altogether(index: Index) -> None:
    index.read("a.txt", prose(75))
    assert index.read("a.txt", prose(20, 7)) == index.rebuilt("a.txt", prose(20, 7))


def test_a_copy_of_the_file_keeps_what_it_was(index: Index) -> None:
    for name, text in (("a.txt", prose(75)), ("b.txt", prose(75)), ("b.txt", prose(115))):
        windows = index.read(name, text)
    assert windows <= 41
    index.read("a.txt", prose(75), "fresh.sqlite")
    index.read("b.txt", prose(115), "fresh.sqlite")
    assert index.dump(index.folder / "kept.sqlite") == index.dump(index.folder / "fresh.sqlite")


def test_many_appends_in_a_row(index: Index) -> None:
    text = prose(65)
    index.read("a.txt", text)
    for step in range(6):
        text += prose(1 + 7 * step, 65 + 100 * step)
        assert index.read("a.txt", text) <= 2 + 7 * step + 1
    index.rebuilt("a.txt", text)


def test_decisions_are_kept_in_the_record(index: Index) -> None:
    index.read("a.txt", prose(3))
    index.read("a.txt", (prose(3) + chat(200)).encode())  # read anew, it would be a chat
    ((_, _, reader, kind, *_),) = index.dump(index.folder / "kept.sqlite")[0]
    assert (reader, kind) == ('["text", "utf-8", ""]', "text")


def test_an_interrupted_update_resumes(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.read("a.txt", prose(75))
    make = index.make_encoder

    def dying(**options: Any) -> Any:
        encoder = make(**options)
        encode = encoder.encode

        def failing(*arguments: Any) -> Any:
            if encoder.windows_encoded >= 30:
                raise RuntimeError
            return encode(*arguments)

        encoder.encode = failing
        return encoder

    index.make_encoder = dying
    with pytest.raises(RuntimeError):
        index.read("a.txt", prose(175))
    index.make_encoder = make
    assert index.read("a.txt", prose(195)) <= 195 - 75 - 30 + 7  # though it has grown meanwhile
    index.rebuilt("a.txt", prose(195))


def test_a_reader_that_fails_after_its_last_segment_leaves_its_border(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = TextDocument.pieces

    def broken(self: TextDocument) -> Any:
        yield from pieces(self)
        raise DocumentError(self.name, "breaks off")

    with monkeypatch.context() as patch:
        patch.setattr(TextDocument, "pieces", broken)
        with pytest.raises(AssertionError):
            index.read("a.txt", prose(70))
    assert index.read("a.txt", prose(80)) <= 12
    index.rebuilt("a.txt", prose(80))


@pytest.mark.parametrize("begin", [0, 1, 7])
def test_segments_after_a_border_are_those_of_the_whole(begin: int, tmp_path: Path, tiny_encoder: Any) -> None:
    from lindoc.core.borders import Borders, last_common
    from lindoc.core.formats import open_document

    long = "A line without any end " * 40 + "\n" + "x" * 900
    (tmp_path / "a.txt").write_text(prose(9) + long + "\n\n\n" + code(9) + "\nEND\n")
    document = open_document(Source("a.txt", tmp_path / "a.txt"))
    borders, known = Borders(), []
    whole = []
    for one in segments(document, tiny_encoder.tokenizer, 32, borders=borders):
        whole.append(one)
        known.append(borders.latest)
    assert len(whole) > 20 and known[-1] is None
    for border in known[begin:-1:5]:
        assert border is not None
        assert list(segments(document, tiny_encoder.tokenizer, 32, after=border)) == whole[border.segments :]
    assert last_common(document.pieces(), [one for one in known if one]) == known[-2]


def test_pieces_after_an_offset_keep_their_line() -> None:
    from lindoc.core.documents import Mark

    assert Piece("a\nbc\nd", Mark(10, line=4), 2).after(14) == Piece("\nd", Mark(14, line=5), 0)

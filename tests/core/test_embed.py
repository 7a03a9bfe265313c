"""Embedding keeps what it reads: nothing is encoded twice, and what comes out of the store is what was encoded."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lindoc.core.documents import Locator
from lindoc.core.errors import DocumentError
from lindoc.core.formats import Source
from lindoc.core.formats.text import TextDocument
from lindoc.core.pipeline import Library
from lindoc.core.results import Embedding
from lindoc.core.segments import segments
from lindoc.core.store import Store, Version
from lindoc.core.stream import STATE_EVERY, Window, encode_stream

Row = tuple[Locator, int | None, int, str, bytes]
Sources = Sequence[Source | DocumentError]


class Stopped(Exception):
    """What the encoder raises in place of a kill."""


def story(name: str, paragraphs: int) -> str:
    """A text of as many segments, for the tiny encoder."""
    return "\n\n".join(
        f"Paragraph {at} of {name} tells in some more words than would fit twice what happened on day {at} there."
        for at in range(paragraphs)
    )


def exact(embeddings: Iterator[Embedding]) -> list[Row]:
    return [(one.locator, one.segment, one.tokens, one.text, one.vector.tobytes()) for one in embeddings]


def undisturbed(encoder: Any, sources: Sources, **options: Any) -> list[Row]:
    return exact(Library(encoder, Store.open(None, encoder=encoder)).embed(sources, **options))


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Source]:
    def make(name: str, paragraphs: int, text: str | None = None) -> Source:
        path = tmp_path / name
        path.write_text(story(name, paragraphs) if text is None else text, encoding="utf-8")
        return Source(name, path)

    return make


@pytest.fixture
def embed(tmp_path: Path) -> Callable[..., list[Row]]:
    """embed(encoder, sources, per=…, dim=…) into index.sqlite, opened anew each time."""

    def run(encoder: Any, sources: Sources, block: int = 4, **options: Any) -> list[Row]:
        with Store.open(tmp_path / "index.sqlite", encoder=encoder) as store:
            return exact(Library(encoder, store, block=block).embed(sources, **options))

    return run


def stop_after(encoder: Any, windows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder fails once it has encoded so many windows."""
    encode = encoder.encode

    def failing(*arguments: Any) -> Any:
        if encoder.windows_encoded >= windows:
            raise Stopped
        return encode(*arguments)

    monkeypatch.setattr(encoder, "encode", failing)


def kept_states(path: Path) -> dict[int, bytes]:
    """Segments -> state after them, of the only document."""
    connection = sqlite3.connect(path)
    found = dict(connection.execute("SELECT segments, state FROM states").fetchall())
    connection.close()
    return found


@pytest.mark.parametrize("options", [{}, {"dim": 64}, {"per": "document"}, {"per": "document", "dim": 128}])
def test_a_second_embed_encodes_nothing_and_is_the_same(
    options: dict[str, Any], tiny_encoder: Any, make_encoder: Any, source: Any, embed: Any
) -> None:
    sources = [source("a.txt", 9), source("b.txt", 1), source("c.txt", 5)]
    first = embed(tiny_encoder, sources, **options)
    read = tiny_encoder.windows_encoded
    assert embed(tiny_encoder, sources, **options) == first == undisturbed(make_encoder(), sources, **options)
    assert tiny_encoder.windows_encoded == read == 15


def test_tasks_share_what_was_read(tiny_encoder: Any, source: Any) -> None:
    store = Store.open(None, encoder=tiny_encoder)
    embedded, searched = source("a.txt", 9), source("b.txt", 5)
    rows = exact(Library(tiny_encoder, store).embed([embedded]))
    library = Library(tiny_encoder, store)
    assert library.read([embedded, searched]) == 2 and tiny_encoder.windows_encoded == 14
    assert library.search("what happened on day 3", 1) and library.summarize(2)
    queries = tiny_encoder.windows_encoded
    assert exact(library.embed([searched, embedded]))[5:] == rows
    assert tiny_encoder.windows_encoded == queries


def test_rows_come_in_the_order_of_the_sources(
    tiny_encoder: Any, make_encoder: Any, source: Any, embed: Any, tmp_path: Path
) -> None:
    """Kept, new and copied documents in one run; one that fails does not stop the others."""
    kept = [source("kept.txt", 6), source("also.txt", 3)]
    embed(tiny_encoder, kept)
    new = [source(f"{at}.txt", 1 + at % 3) for at in range(5)]
    copy = source("copy.txt", 0, story("1.txt", 2))
    bad = DocumentError("bad.txt", "cannot be read")
    sources = [new[0], kept[0], new[1], copy, kept[1], bad, new[2], new[2], new[3], new[4]]
    wanted = [row for one in sources if one is not bad for row in undisturbed(make_encoder(), [one])]
    assert embed(tiny_encoder, sources, block=16) == wanted
    assert tiny_encoder.windows_encoded == 9 + 1 + 2 + 3 + 1 + 2


def test_a_document_that_fails_midway_gives_its_rows_each_time(
    tiny_encoder: Any, source: Any, embed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = TextDocument.pieces

    def broken(self: Any) -> Iterator[Any]:
        yield from islice(pieces(self), 200)
        raise DocumentError(self.name, "breaks off")

    monkeypatch.setattr(TextDocument, "pieces", broken)
    sources = [source("a.txt", 210), source("b.txt", 0, story("a.txt", 210))]
    rows = embed(tiny_encoder, sources)
    encoded = tiny_encoder.windows_encoded
    assert {row[0].document for row in rows} == {"a.txt", "b.txt"} and 0 < encoded == len(rows) // 2 < 200
    assert embed(tiny_encoder, sources) == rows and tiny_encoder.windows_encoded == encoded
    assert embed(tiny_encoder, sources, per="document") == []


@pytest.mark.parametrize("stop", [0, 4, 12, 20, 28])
@pytest.mark.parametrize("per", ["segment", "document"])
def test_an_interrupted_embed_resumes(
    stop: int,
    per: str,
    tiny_encoder: Any,
    make_encoder: Any,
    source: Any,
    embed: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = [source("a.txt", 7), source("b.txt", 22), source("c.txt", 3)]
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(tiny_encoder, stop, patch)
        embed(tiny_encoder, sources, per=per)
    kept = tiny_encoder.windows_encoded
    assert kept >= stop
    assert embed(tiny_encoder, sources, per=per) == undisturbed(make_encoder(), sources, per=per)
    assert tiny_encoder.windows_encoded == 32


def test_what_is_kept_comes_before_anything_is_encoded(
    tiny_encoder: Any, source: Any, embed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = source("a.txt", 30)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(tiny_encoder, 12, patch)
        embed(tiny_encoder, [given])
    with Store.open(tmp_path / "index.sqlite", encoder=tiny_encoder) as store:
        rows = Library(tiny_encoder, store, block=4).embed([given])
        assert len(list(islice(rows, 12))) == tiny_encoder.windows_encoded == 12
        assert next(rows).segment == 12 and tiny_encoder.windows_encoded == 16  # its block, and no more


def test_an_embed_left_early_keeps_what_it_encoded(tiny_encoder: Any, make_encoder: Any, source: Any) -> None:
    store, given = Store.open(None, encoder=tiny_encoder), source("a.txt", 30)
    rows = Library(tiny_encoder, store, block=4).embed([given])
    list(islice(rows, 5))
    del rows
    assert exact(Library(tiny_encoder, store).embed([given])) == undisturbed(make_encoder(), [given])
    assert tiny_encoder.windows_encoded == 30


@pytest.mark.parametrize(("keeps", "kept"), [(False, 0), (True, 1)])
def test_stdin_is_kept_only_where_asked(keeps: bool, kept: int, tmp_path: Path, tiny_encoder: Any, source: Any) -> None:
    given = source("a.txt", 3)
    with tempfile.TemporaryFile() as spool:
        spool.write(story("-", 4).encode())
        with Store.open(tmp_path / "index.sqlite", encoder=tiny_encoder, keeps_stdin=keeps) as store:
            sources = [given, Source("-", None, spool), source("b.txt", 2)]
            rows = exact(Library(tiny_encoder, store).embed(sources))
            assert [row[0].document for row in rows] == ["a.txt"] * 3 + ["-"] * 4 + ["b.txt"] * 2
            assert store.forget("-") == kept
            assert store.forget(tmp_path) == 2


def test_vectors_are_kept_in_fp32(tmp_path: Path, tiny_encoder: Any, source: Any, embed: Any) -> None:
    embed(tiny_encoder, [source("a.txt", 3)])
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    assert {len(blob) for (blob,) in connection.execute("SELECT vector FROM segments")} == {4 * 384}
    connection.close()


@pytest.mark.parametrize(
    ("count", "borders"), [(200, []), (512, []), (513, [512]), (514, [512, 513]), (1100, [512, 1024, 1099])]
)
def test_states_are_kept_every_512_segments_and_at_the_last_closed_border(
    count: int, borders: list[int], make_encoder: Any, source: Any, embed: Any, tmp_path: Path
) -> None:
    assert STATE_EVERY == 512
    encoder, given = make_encoder(dim=64), source("a.txt", count)
    assert len(embed(encoder, [source("before.txt", 3), given, source("after.txt", 2)], block=16, dim=64)) == count + 5
    assert sorted(kept_states(tmp_path / "index.sqlite")) == borders
    document = Library(encoder, Store.open(None, encoder=encoder))._open(given)
    windows = [Window(0, *pair) for pair in segments(document, encoder.tokenizer, encoder.window - 2)]
    with Store.open(tmp_path / "index.sqlite", encoder=encoder) as store:
        decisions = document.report.decisions
        key = store.begin(str(given.path), Version(document.sha256, document.size, decisions)).id
        for border in borders:
            (block,) = encode_stream(windows[:border], make_encoder(dim=64), block=border)
            state = store.state(key, border, encoder.device)
            assert state.dtype == torch.float32 and torch.equal(state, block.states[0])


@pytest.mark.parametrize("stop", [480, 512, 530, 620])
def test_states_do_not_depend_on_an_interruption(
    stop: int, make_encoder: Any, source: Any, embed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, given, path = make_encoder(dim=64), source("a.txt", 630), tmp_path / "index.sqlite"
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(encoder, stop, patch)
        embed(encoder, [given], block=10, dim=64)
    midway = kept_states(path)
    rows = embed(encoder, [given], block=10, dim=64)
    assert rows == undisturbed(make_encoder(dim=64), [given], dim=64) and encoder.windows_encoded == 630
    resumed = kept_states(path)
    assert sorted(resumed) == [512, 629]
    assert all(resumed[border] == midway[border] for border in midway.keys() & resumed.keys())
    path.unlink()
    embed(make_encoder(dim=64), [given], block=16, dim=64)
    assert kept_states(path) == resumed


def test_states_go_with_their_content(make_encoder: Any, source: Any, embed: Any, tmp_path: Path) -> None:
    encoder, given, path = make_encoder(dim=64), source("a.txt", 600), tmp_path / "index.sqlite"
    for remove in (lambda store: store.forget(given.path), lambda store: store.trim(0)):
        embed(encoder, [given], dim=64)
        (first, second) = kept_states(path).values()
        with Store.open(path, encoder=encoder) as store:
            assert remove(store) == 1
        assert kept_states(path) == {}
        held = b"".join(entry.read_bytes() for entry in tmp_path.glob("index.sqlite*"))
        assert first[-200:] not in held and second[-200:] not in held
    embed(encoder, [given], dim=64)
    embed(encoder, [source("a.txt", 3)], dim=64)  # another content at the same path
    assert kept_states(path) == {}


def test_an_index_of_an_earlier_format_can_be_forgotten(
    tiny_encoder: Any, source: Any, embed: Any, tmp_path: Path
) -> None:
    given, path = source("a.txt", 3), tmp_path / "index.sqlite"
    embed(tiny_encoder, [given])
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE states")
    connection.execute("UPDATE header SET value = '1' WHERE key = 'format'")
    connection.commit()
    connection.close()
    with Store.open(path) as store:
        assert store.forget(given.path) == 1


def test_a_document_vector_is_its_leading_slice(tiny_encoder: Any, source: Any, embed: Any) -> None:
    given = source("a.txt", 5)
    (full,) = embed(tiny_encoder, [given], per="document")
    (small,) = embed(tiny_encoder, [given], per="document", dim=64)
    leading = np.frombuffer(full[-1], np.float32)[:64]
    np.testing.assert_allclose(np.frombuffer(small[-1], np.float32), leading / np.linalg.norm(leading), atol=1e-6)

"""Laws 3 and 5 on disk: restore and the suffix equal the uninterrupted run, and cost only the suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lindoc.core.errors import DocumentError, StoreError, UsageError
from lindoc.core.formats import Source
from lindoc.core.pipeline import Library
from lindoc.core.state_files import read_state, state_facts, write_state
from lindoc.core.states import SavedState, append_state, fork_state, save_state
from lindoc.core.store import Store

SourceOf = Callable[[str, str], Source]


def story(count: int, first: int = 0) -> str:
    return "".join(
        f"Paragraph {at} tells in some more words than would fit twice what happened on day {at} of it.\n\n"
        for at in range(first, first + count)
    )


@pytest.fixture
def source(tmp_path: Path) -> SourceOf:
    def make(name: str, text: str) -> Source:
        (tmp_path / name).write_text(text)
        return Source(name, tmp_path / name)

    return make


def assert_same(one: SavedState, other: SavedState) -> None:
    assert (one.document, one.sha256, one.segments, one.earlier) == (
        other.document,
        other.sha256,
        other.segments,
        other.earlier,
    )
    for a, b in ((one.open, other.open), (one.end, other.end)):
        assert (a.border, a.tokens, a.unknown, a.mean.weight) == (b.border, b.tokens, b.unknown, b.mean.weight)
        assert (a.state is None) == (b.state is None) and (a.state is None or torch.equal(a.state, b.state))
        assert (a.mean.total is None) == (b.mean.total is None)
        assert a.mean.total is None or b.mean.total is None or np.array_equal(a.mean.total, b.mean.total)


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("ending", ["", "An open line", "An open line\n"])
def test_a_grown_document_equals_the_uninterrupted_run(
    count: int, ending: str, make_encoder: Any, source: SourceOf, tmp_path: Path
) -> None:
    text = story(count) + ending
    saved = save_state(source("a.txt", text), make_encoder())
    write_state(tmp_path / "s.safetensors", saved, make_encoder())
    restored, encoder = read_state(tmp_path / "s.safetensors", make_encoder()), make_encoder()
    assert_same(restored, saved)
    grown = source("a.txt", text + (" goes on.\n" if ending else "") + story(7, 100))
    assert_same(append_state(restored, grown, encoder, block=3), save_state(grown, make_encoder()))
    assert encoder.windows_encoded <= 9
    assert_same(restored, saved)  # nothing given is modified


def test_a_text_that_follows_is_read_after_it(make_encoder: Any, source: SourceOf) -> None:
    encoder = make_encoder()
    saved = save_state(source("a.txt", story(30)), encoder)
    follows = source("b.txt", story(5, 50))
    encoder.windows_encoded = 0
    both = append_state(saved, follows, encoder)
    assert encoder.windows_encoded == 5
    assert both.earlier == ("a.txt",) and both.segments == 5 and both.end.tokens > saved.end.tokens
    (vectors, alone) = (
        np.stack([one.vector for one in fork_state(state, follows, encoder, dim=384)])
        for state in (saved, save_state(source("c.txt", story(3, 9)), encoder))
    )
    assert vectors.shape == (5, 384) and np.abs(vectors - alone).max() > 0.01  # the past is known
    grown = source("b.txt", story(5, 50) + story(2, 80))
    assert_same(append_state(both, grown, encoder), append_state(saved, grown, encoder))


def test_forks_are_the_rows_of_one_run(make_encoder: Any, source: SourceOf) -> None:
    """Windows of a text after a state are those windows in one pass over both."""
    from lindoc.core.stream import Window, encode_stream
    from lindoc.core.tasks.embed import normalized, pooled, text_windows

    encoder = make_encoder()
    first, second = story(9).strip(), story(4, 70).strip()
    saved = save_state(source("a.txt", first), encoder)
    forks = [one.vector for one in fork_state(saved, source("b.txt", second), encoder, dim=384)]
    windows: list[Window] = []
    for name in ("a.txt", "b.txt"):
        text = first if name == "a.txt" else second
        windows += [one for part in text.split("\n\n") for one in text_windows(part, 0, encoder)]
    hidden = [one for block in encode_stream(windows, encoder, block=4) for one in block.hidden]
    whole = [normalized(pooled(encoder, one)) for one in hidden[-len(forks) :]]
    np.testing.assert_allclose(forks, whole, atol=1e-5)


def test_what_the_store_holds_is_not_read_again(
    make_encoder: Any, source: SourceOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("ingest", "store", "stream"):
        monkeypatch.setattr(f"lindoc.core.{module}.STATE_EVERY", 16)
    given, encoder = source("a.txt", story(40)), make_encoder()
    with Store.open(tmp_path / "index.sqlite", encoder=encoder) as store:
        Library(encoder, store).read([given])
        encoder.windows_encoded = 0
        saved = save_state(given, encoder, store)
    assert encoder.windows_encoded == 1
    assert_same(saved, save_state(given, make_encoder()))


def test_the_file_is_private_and_says_what_it_is(make_encoder: Any, source: SourceOf, tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    write_state(path, save_state(source("a.txt", story(3)), make_encoder()), make_encoder())
    assert path.stat().st_mode & 0o777 == 0o600 and [one.name for one in tmp_path.glob("s.*")] == [path.name]
    facts = dict(state_facts(path))
    assert (facts["document"], facts["segments"], facts["model"]) == ("a.txt", 3, "tiny")
    assert b"Paragraph" not in path.read_bytes()  # no text is in it


def test_what_is_wrong_with_a_file_is_said(make_encoder: Any, source: SourceOf, tmp_path: Path) -> None:
    path, encoder = tmp_path / "s.safetensors", make_encoder()
    write_state(path, save_state(source("a.txt", story(3)), encoder), encoder)
    with pytest.raises(StoreError, match="saved with other weights"):
        read_state(path, make_encoder(seed=1))
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"s\.safetensors: is damaged"):
        read_state(path, encoder)
    for content in (b"", b"x" * 99, bytes(data[: len(data) // 2])):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"s\.safetensors: cannot be read"):
            read_state(path, encoder)
    with pytest.raises(UsageError, match="cannot be written"):
        write_state(tmp_path / "no" / "s", save_state(source("a.txt", story(3)), encoder), encoder)


def test_a_line_that_turned_out_otherwise_is_said(make_encoder: Any, source: SourceOf) -> None:
    text = story(20) + "ARTICLE II"
    saved = save_state(source("a.txt", text), make_encoder())
    with pytest.raises(DocumentError, match=r"a\.txt: now ends its segments elsewhere"):
        append_state(
            saved, source("a.txt", text + " of the treaty says that it ends.\n" + story(3, 50)), make_encoder()
        )

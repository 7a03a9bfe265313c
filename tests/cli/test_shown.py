"""Places and vector files, apart from any model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from lindoc.cli.commands.summarize import parse_length
from lindoc.cli.show import clip, place, printable
from lindoc.core.documents import Locator
from lindoc.core.vector_files import HEADER, VectorFile, npy_header, safetensors_header


@pytest.mark.parametrize(
    ("locator", "shown"),
    [
        (Locator("a.pdf", 0, 9, page=3, page_end=3), "a.pdf, page 3"),
        (Locator("a.pdf", 0, 9, page=3, page_end=4, page_label="iii"), "a.pdf, pages 3-4 (iii)"),
        (Locator("a.py", 0, 9, line_start=10, line_end=24), "a.py, lines 10-24"),
        (Locator("a.py", 0, 9, line_start=10, line_end=10), "a.py, line 10"),
        (
            Locator("c.log", 0, 9, message_start=4, message_end=9, speaker="ann", time="10:03"),
            "c.log, messages 4-9, from 10:03",
        ),
        (
            Locator("c.log", 0, 9, message_start=4, message_end=4, speaker="ann", time="10:03"),
            "c.log, message 4, <ann> 10:03",
        ),
        (Locator("-", 0, 9), "-"),
    ],
)
def test_a_place_reads_like_a_reference(locator: Locator, shown: str) -> None:
    assert place(locator) == shown


def test_lengths() -> None:
    assert parse_length("5") == 5 and isinstance(parse_length("5"), int)
    assert parse_length("3%") == pytest.approx(0.03)
    assert parse_length("0.5%") == pytest.approx(0.005)


@given(st.text(), st.integers(1, 40))
def test_clipped_text_fits(text: str, width: int) -> None:
    assert len(clip(text, width)) <= width


@given(st.text())
def test_printable_text_has_no_control_characters(text: str) -> None:
    assert all(char.isprintable() or char in "\t\n" for char in printable(text))
    assert len(printable(text)) == len(text)


@given(st.integers(0, 10**9), st.integers(1, 4096))
def test_headers_are_of_fixed_size_and_aligned(rows: int, dim: int) -> None:
    assert len(npy_header(rows, dim, {})) == len(safetensors_header(rows, dim, {"model": "x" * 64})) == HEADER
    assert HEADER % 64 == 0


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_vector_files_are_read_by_their_own_libraries(rows: int, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((rows, 7)).astype(np.float32)
    for format in ("npy", "safetensors"):
        path = tmp_path / f"v.{format}"
        with VectorFile(path, format, 7, {"model": "m"}) as file:  # type: ignore[arg-type]
            for index, vector in enumerate(vectors):
                file.write({"document": "d", "segment": index}, vector)
            assert not path.exists()
        read = np.load(path) if format == "npy" else load(path.read_bytes())["embeddings"]
        np.testing.assert_array_equal(read, vectors)
        sidecar = path.with_name(f"v.{format}.locators.jsonl")
        records = [json.loads(line) for line in sidecar.read_text("utf-8").splitlines()]
        assert [record["row"] for record in records] == list(range(rows))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), VectorFile(path, "npy", 2, {}) as file:
        file.write({}, np.zeros(2, np.float32))
        raise RuntimeError
    assert [entry.name for entry in tmp_path.iterdir()] == ["v.npy"] and path.read_bytes() == b"old"

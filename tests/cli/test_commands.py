"""What each command prints, on the tiny encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

Run = Callable[..., Any]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_embed_writes_json_lines_into_a_pipe(lindoc: Run, contract: str) -> None:
    result = lindoc("embed", contract)
    rows = lines(result.out)
    assert result.code == 0 and len(rows) > 5
    assert list(rows[0])[:5] == ["document", "segment", "start", "end", "tokens"]
    assert [row["segment"] for row in rows] == list(range(len(rows)))
    assert {row["page"] for row in rows} == set(range(1, 8))
    assert "text" not in rows[0] and len(rows[0]["embedding"]) == 384
    canonical = lindoc("inspect", "--text", contract).out
    for row in lines(lindoc("embed", contract, "--text", "--dim", "64").out):
        assert canonical[row["start"] : row["end"]] == row["text"]
        assert np.linalg.norm(row["embedding"]) == pytest.approx(1, abs=1e-4) and len(row["embedding"]) == 64


def test_embed_per_document(lindoc: Run, contract: str, notes: str) -> None:
    rows = lines(lindoc("embed", contract, notes, "--per", "document").out)
    assert [row["document"] for row in rows] == [contract, notes]
    assert all("segment" not in row for row in rows)


def test_embed_reads_a_pipe(lindoc: Run) -> None:
    piped = lindoc("embed", stdin="A short text. It has two sentences.")
    named = lindoc("embed", "-", stdin="A short text. It has two sentences.")
    assert piped.code == 0 and piped.out == named.out
    assert [row["document"] for row in lines(piped.out)] == ["-"]


def test_embed_encodes_nothing_twice(lindoc: Run, contract: str, notes: str, tiny_encoder: Any) -> None:
    first = lindoc("embed", notes, contract)
    read = tiny_encoder.windows_encoded
    assert lindoc("embed", notes, contract) == first
    assert lines(lindoc("embed", contract, "--per", "document").out)[0]["document"] == contract
    assert tiny_encoder.windows_encoded == read
    assert lindoc("embed", notes, contract, "--index", "other.sqlite") == first
    assert tiny_encoder.windows_encoded == 2 * read


def test_embed_keeps_a_pipe_only_with_index(lindoc: Run, tiny_encoder: Any) -> None:
    for options, again in (((), 2), (("--index", "kept.sqlite"), 1)):
        before = tiny_encoder.windows_encoded
        assert lindoc("embed", *options, stdin="Short.") == lindoc("embed", *options, stdin="Short.")
        assert tiny_encoder.windows_encoded - before == again
    assert lindoc("forget", "-").code == 1 and lindoc("forget", "-", "--index", "kept.sqlite").code == 0


@pytest.mark.parametrize("name", ["v.npy", "v.safetensors"])
def test_vector_files_hold_what_the_pipe_gets(lindoc: Run, contract: str, tmp_path: Path, name: str) -> None:
    rows = lines(lindoc("embed", contract).out)
    result = lindoc("embed", contract, "-o", name)  # the suffix says which format
    assert (result.code, result.out) == (0, "")
    path = tmp_path / name
    vectors = np.load(path) if name.endswith("npy") else load_file(path)["embeddings"]
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [row["embedding"] for row in rows], atol=1e-6)
    sidecar = lines((tmp_path / f"{name}.locators.jsonl").read_text("utf-8"))
    for index, (row, line) in enumerate(zip(rows, sidecar, strict=True)):
        del row["embedding"]
        assert line == {"row": index, **row}
    assert list(tmp_path.glob("*.part")) == []


def test_a_vector_file_that_cannot_be_written(lindoc: Run, notes: str) -> None:
    result = lindoc("embed", notes, "-o", "no/such/folder/v.npy")
    assert result.code == 2 and "no/such/folder/v.npy" in result.err


def test_ask_as_json(lindoc: Run, contract: str) -> None:
    result = lindoc("ask", "Who signed it?", "--json", "--file", contract)
    answer = json.loads(result.out)
    assert list(answer) == ["question", "answerable", "answer", "score", "evidence"]
    assert answer["question"] == "Who signed it?" and result.code == (0 if answer["answerable"] else 1)
    canonical = lindoc("inspect", "--text", contract).out
    assert answer["evidence"]
    for evidence in answer["evidence"]:
        assert canonical[evidence["start"] : evidence["end"]] == evidence["quote"]
        assert evidence["document"] == contract and 1 <= evidence["page"] <= 7 and 0 <= evidence["score"] <= 1


def test_options_may_stand_before_or_after_the_question(lindoc: Run, notes: str) -> None:
    before = lindoc("ask", "--file", notes, "--json", "Who was the keeper?")
    after = lindoc("ask", "Who was the keeper?", "--json", "--file", notes)
    assert before == after and json.loads(before.out)["question"] == "Who was the keeper?"


def test_ask_about_what_is_piped_in(lindoc: Run) -> None:
    result = lindoc("ask", "Who was the keeper?", "--json", stdin="The keeper was Anna Berg. It rained.")
    evidence = json.loads(result.out)["evidence"]
    assert {one["document"] for one in evidence} == {"-"}


def test_with_a_source_and_a_question_standard_input_is_not_read(lindoc: Run, notes: str) -> None:
    with_noise = lindoc("ask", "Who was the keeper?", "--file", notes, "--json", stdin="Nothing of this.")
    assert {one["document"] for one in json.loads(with_noise.out)["evidence"]} == {notes}


def test_questions_through_a_pipe_are_answered_in_json_lines(lindoc: Run, notes: str) -> None:
    result = lindoc("ask", "--file", notes, stdin="Who was the keeper?\n\nWhere does it stand?\n")
    assert [one["question"] for one in lines(result.out)] == ["Who was the keeper?", "Where does it stand?"]


def test_a_prompt_opens_on_a_terminal_and_an_empty_line_ends_it(lindoc: Run, notes: str) -> None:
    result = lindoc("ask", "--file", notes, typed="Who was the keeper?\n\nNever asked?\n")
    assert result.err.count("? ") == 2 and "? " not in result.out
    assert "notes.txt, line" in result.out


def test_places_are_relative_under_repo(lindoc: Run, notes: str, tmp_path: Path) -> None:
    inside = json.loads(lindoc("ask", "Who was the keeper?", "--repo", str(tmp_path), "--json").out)
    assert {one["document"] for one in inside["evidence"]} == {notes}
    assert all(one["line_start"] <= one["line_end"] for one in inside["evidence"])


def test_search_ranks(lindoc: Run, contract: str) -> None:
    found = lines(lindoc("search", "governing law", contract, "-k", "3", "--jsonl").out)
    assert [one["rank"] for one in found] == [1, 2, 3]
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    document = json.loads(lindoc("search", "governing law", contract, "-k", "3", "--json").out)
    assert document == {"query": "governing law", "passages": found}
    assert f"  1. {contract}, page" in lindoc("search", "governing law", contract, "-k", "3").out


@pytest.mark.parametrize(("length", "count"), [("3", 3), ("5%", None)])
def test_summarize_in_document_order(lindoc: Run, chat: str, length: str, count: int | None) -> None:
    result = lindoc("summarize", chat, "--length", length, "--json")
    summary = json.loads(result.out)
    sentences = summary["sentences"]
    assert result.code == 0 and summary["length"] == length
    assert len(sentences) == count if count else len(sentences) > 3
    assert [one["start"] for one in sentences] == sorted(one["start"] for one in sentences)
    canonical = lindoc("inspect", "--text", chat).out
    for one in sentences:
        assert canonical[one["start"] : one["end"]] == one["text"] and one["message_start"] >= 1
    assert lines(lindoc("summarize", chat, "--length", length, "--jsonl").out) == sentences


def test_inspect_lists_every_segment(lindoc: Run, contract: str) -> None:
    document = json.loads(lindoc("inspect", contract, "--json").out)
    assert document["kind"] == "pdf" and document["segment_count"] == len(document["segments"]) > 5
    assert document["tokens"] == sum(one["tokens"] for one in document["segments"])
    assert lines(lindoc("inspect", contract, "--jsonl").out) == document["segments"]
    shown = lindoc("inspect", contract).out.splitlines()
    assert len(shown) == 4 + document["segment_count"] + 1


def test_what_was_read_is_forgotten(lindoc: Run, notes: str) -> None:
    index = ("--index", "kept.sqlite")
    assert lindoc("summarize", notes, *index).code == 0
    assert json.loads(lindoc("forget", notes, *index, "--json").out)["forgotten"] == 1
    assert lindoc("forget", notes, *index).code == 1
    lindoc("summarize", notes, *index)
    assert lindoc("forget", "--all", *index).out == "1 document forgotten\n"


def test_no_store_keeps_nothing(lindoc: Run, notes: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert lindoc("summarize", notes, "--no-store").code == 0
    assert lindoc("embed", notes, "--no-store").code == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_colour_is_for_terminals_and_no_color_wins(lindoc: Run, notes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in lindoc("summarize", notes).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in lindoc("summarize", notes).out
    assert "\x1b" not in lindoc("summarize", notes, "--json").out
    monkeypatch.setenv("NO_COLOR", "1")
    result = lindoc("summarize", notes, "missing.txt")
    assert "\x1b" not in result.out + result.err


def test_a_document_cannot_write_on_the_terminal(lindoc: Run, tmp_path: Path) -> None:
    (tmp_path / "evil.txt").write_text("The title is \x1b]0;owned\x07 this one. It has a second sentence.\n")
    result = lindoc("summarize", "evil.txt")
    assert result.out and "\x1b" not in result.out and "\x07" not in result.out


def test_models_are_listed(lindoc: Run) -> None:
    listed = json.loads(lindoc("models", "list", "--json").out)["models"]
    assert "lindoc-small" in [one["name"] for one in listed]
    assert lindoc("models", "list").out.startswith("lindoc-small ")


def test_the_shipped_model_is_verified_and_an_unknown_one_refused(process: Run) -> None:
    info = json.loads(process("models", "info", "--json").out)
    assert info["name"] == "lindoc-small" and info["dim"] == 384 and len(info["weights_sha256"]) == 64
    unknown = process("models", "info", "lindoc-huge")
    assert (unknown.code, unknown.out) == (4, "") and "lindoc-small" in unknown.err


def test_from_a_pipe_to_an_answer_on_the_shipped_model(process: Run) -> None:
    text = "The lighthouse was built in 1871. Its keeper was Anna Berg, who lit the lamp every evening."
    result = process("ask", "Who was the keeper?", "--json", stdin=text)
    answer = json.loads(result.out)
    assert result.err == "" and result.code in (0, 1)
    for evidence in answer["evidence"]:
        assert text[evidence["start"] : evidence["end"]] == evidence["quote"]

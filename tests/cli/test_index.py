"""`index`, `status`, `forget` and questions to the whole index, on the tiny encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
SHIP = "The ship Aurora was built in Bergen. Its captain was Nora Lind, who had sailed for thirty years.\n"
MILL = "The mill stands on the river Elz. Its owner was Karl Baum, and it ground rye for the whole valley.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "docs"
    path.mkdir()
    (path / "ship.txt").write_text(SHIP)
    (path / "mill.txt").write_text(MILL)
    return path


def counts(result: Any) -> tuple[int, ...]:
    record = json.loads(result.out)
    return tuple(record[name] for name in ("read", "unchanged", "removed", "failed"))


def statuses(lindoc: Run) -> dict[str, str]:
    return {one["path"]: one["status"] for one in json.loads(lindoc("status", "--json").out)["files"]}


def test_only_index_makes_a_folder_and_git_does_not_see_it(lindoc: Run, folder: Path, tmp_path: Path) -> None:
    assert lindoc("search", "ship", "docs").code == 0 and not (tmp_path / ".lindoc").exists()
    result = lindoc("index", "docs", "--json")
    assert result.code == 0 and counts(result) == (2, 0, 0, 0)
    assert json.loads(result.out)["index"] == str(tmp_path / ".lindoc" / "index.sqlite")
    assert (tmp_path / ".lindoc" / ".gitignore").read_text() == "*\n"
    assert (tmp_path / ".lindoc").stat().st_mode & 0o777 == 0o700
    assert counts(lindoc("index", ".", "--json")) == (0, 2, 0, 0)  # it does not read itself


def test_index_again_updates(lindoc: Run, folder: Path, tiny_encoder: Any) -> None:
    assert counts(lindoc("index", "docs", "--json")) == (2, 0, 0, 0)
    before = tiny_encoder.windows_encoded
    assert counts(lindoc("index", "--json")) == (0, 2, 0, 0) and tiny_encoder.windows_encoded == before
    (folder / "ship.txt").write_text(SHIP + "It sank in 1903.\n")
    (folder / "mill.txt").unlink()
    (folder / "new.txt").write_text("A new text about the lighthouse of Kap Arkona.\n")
    assert statuses(lindoc) == {"docs/mill.txt": "stale", "docs/ship.txt": "stale"}
    assert counts(lindoc("index", "--json")) == (2, 0, 1, 0)
    assert statuses(lindoc) == {"docs/new.txt": "done", "docs/ship.txt": "done"}
    assert "0 read, 2 unchanged, 0 removed, 0 failed; " in lindoc("index").out


def test_what_is_ignored_now_is_removed(lindoc: Run, folder: Path) -> None:
    lindoc("index", "docs")
    (folder / ".lindocignore").write_text("mill.txt\n")
    assert counts(lindoc("index", "--json")) == (0, 1, 1, 0)


def test_what_fails_is_remembered_with_its_reason_and_tried_again(lindoc: Run, folder: Path) -> None:
    (folder / "bad.pdf").write_bytes(b"%PDF-1.4\nnothing more")
    result = lindoc("index", "docs", "--json")
    assert result.code == 3 and counts(result) == (2, 0, 0, 1) and "bad.pdf" in result.err
    shown = lindoc("status").out
    assert "failed  docs/bad.pdf: is not a readable PDF" in shown and "2 done, 0 pending, 0 stale, 1 failed" in shown
    (folder / "bad.pdf").unlink()
    assert counts(lindoc("index", "--json")) == (0, 2, 1, 0)


def test_a_root_that_is_gone_takes_its_documents_with_it(lindoc: Run, folder: Path) -> None:
    lindoc("index", "docs")
    folder.rename(folder.with_name("elsewhere"))
    result = lindoc("index", "--json")
    assert (result.code, counts(result)) == (0, (0, 0, 2, 0)) and "is gone" in result.err


def test_without_a_path_the_whole_index_is_asked(lindoc: Run, folder: Path) -> None:
    lindoc("index", "docs")
    found = json.loads(lindoc("search", "owner of the mill", "--json").out)["passages"]
    assert {one["document"] for one in found} == {"docs/mill.txt", "docs/ship.txt"}
    answer = json.loads(lindoc("ask", "Who was the captain of the ship Aurora?", "--json").out)
    assert answer["evidence"][0]["document"] == "docs/ship.txt"
    piped = lindoc("ask", stdin="Who was the captain?\nWho was the owner?\n")
    assert [json.loads(line)["question"] for line in piped.out.splitlines()][1] == "Who was the owner?"
    typed = lindoc("ask", typed="Who was the captain?\n\n")
    assert "docs/ship.txt" in typed.out and "2 documents" in typed.err
    about = json.loads(lindoc("ask", "Who was the keeper?", "--json", stdin="The keeper was Ann.").out)
    assert {one["document"] for one in about["evidence"]} == {"-"}  # what is piped in comes first


def test_without_an_index_an_input_is_needed(lindoc: Run) -> None:
    for command in (("search", "mill"), ("ask", "who?")):
        result = lindoc(*command, typed="")
        assert result.code == 2 and "lindoc index PATH" in result.err
    assert lindoc("index").code == 2
    assert lindoc("status").code == 1 and "no index" in lindoc("status").out
    assert lindoc("status", "--index", "none.sqlite").code == 2


def test_stale_documents_are_said(lindoc: Run, folder: Path) -> None:
    lindoc("index", "docs")
    (folder / "ship.txt").write_text(SHIP + "It sank in 1903.\n")
    (folder / "mill.txt").write_text("Something else now.\n")
    result = lindoc("search", "captain", "--json")
    assert {one["document"] for one in json.loads(result.out)["passages"]} == {"docs/ship.txt"}
    assert "docs/ship.txt: has grown" in result.err and "docs/mill.txt): has changed" in result.err
    assert result.err.count("lindoc index") == 2
    (folder / "ship.txt").touch()  # another time alone is no change
    lindoc("index")
    (folder / "ship.txt").touch()
    assert "has" not in lindoc("search", "captain").err


def test_forgotten_documents_leave_no_bytes(lindoc: Run, folder: Path, tmp_path: Path) -> None:
    lindoc("index", "docs")
    files = list((tmp_path / ".lindoc").glob("index.sqlite*"))
    assert any(b"Aurora" in file.read_bytes() for file in files)
    assert lindoc("forget", "docs/ship.txt").out == "1 document forgotten\n"
    held = b"".join(file.read_bytes() for file in (tmp_path / ".lindoc").glob("index.sqlite*"))
    assert b"Aurora" not in held and b"aurora" not in held and b"Karl Baum" in held
    assert lindoc("forget", "--all").code == 0
    held = b"".join(file.read_bytes() for file in (tmp_path / ".lindoc").glob("index.sqlite*"))
    assert b"Baum" not in held and b"/docs" not in held
    assert lindoc("index").code == 2  # nothing was indexed


def test_text_from_a_pipe_that_was_kept_is_quoted_from_the_index(lindoc: Run) -> None:
    index = ("--index", "kept.sqlite")
    lindoc("search", "mill", *index, stdin=MILL)
    (found,) = json.loads(lindoc("search", "owner", *index, "--json", typed="").out)["passages"]
    assert found["document"] == "-" and found["text"] == MILL.strip()


def test_an_index_of_another_format_is_named(lindoc: Run, folder: Path) -> None:
    import sqlite3

    lindoc("index", "docs", "--index", "old.sqlite")
    with sqlite3.connect("old.sqlite") as connection:
        connection.execute("UPDATE header SET value = '1' WHERE key = 'format'")
    connection.close()
    for command in (("status",), ("search", "mill"), ("index",)):
        result = lindoc(*command, "--index", "old.sqlite")
        assert result.code == 5 and "format '1', not '3'" in result.err and result.err.count("\n") == 1

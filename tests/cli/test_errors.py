"""Law 9: standard output is data only; an error is one line that names the thing, the reason and the choices."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter

from lindoc.core.errors import ModelError, StoreError

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["embd"], "embd"),
        (["ask", "--fil", "x"], "--fil"),
        (["ask", "one", "two"], "two"),
        (["ask", " ", "--file", "x"], "question is empty"),
        (["ask", "--file", "-"], "standard input is one document"),
        (["ask", "--file", "-", "--file", "-", "who?"], "standard input is one document"),
        (["ask"], "--file FILE or --repo DIR"),
        (["embed", "x", "--format", "npy"], "-o FILE"),
        (["embed", "x", "--dim", "100"], "384"),
        (["summarize", "x", "--length", "0"], "3%"),
        (["summarize", "x", "--length", "100%"], "3%"),
        (["summarize", "x", "--length", "many"], "3%"),
        (["search", "", "x"], "query is empty"),
        (["forget"], "--all"),
        (["forget", "x", "--all"], "--all"),
        (["inspect", "x", "--text", "--json"], "--json"),
    ],
)
def test_wrong_usage_is_one_line_and_2(lindoc: Run, arguments: list[str], said: str) -> None:
    result = lindoc(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("error: ") or result.err.startswith('{"error"')
    assert result.err.count("\n") == 1 and said in result.err


@pytest.mark.parametrize("command", ["embed", "search", "summarize"])
def test_a_terminal_without_input_is_told_so(lindoc: Run, command: str) -> None:
    result = lindoc(command, *(["query"] if command == "search" else []), typed="")
    assert result.code == 2 and "no input" in result.err


@pytest.mark.parametrize("option", ["--json", "--jsonl"])
def test_errors_are_json_where_the_output_is(lindoc: Run, option: str) -> None:
    result = lindoc("summarize", "missing.txt", option)
    assert result.code == 3
    assert result.out == ""
    error = json.loads(result.err)["error"]
    assert error["code"] == "unreadable" and error["path"] == "missing.txt" and "no such file" in error["message"]


def test_an_unreadable_input_is_reported_and_the_others_are_processed(lindoc: Run, notes: str) -> None:
    result = lindoc("embed", "missing.txt", notes)
    assert result.code == 3
    assert {json.loads(line)["document"] for line in result.out.splitlines()} == {notes}
    assert "error: missing.txt: no such file" in result.err


def test_nothing_readable_at_all(lindoc: Run) -> None:
    for command in (["embed", "a", "b"], ["summarize", "a"], ["search", "q", "a"], ["ask", "q", "--file", "a"]):
        result = lindoc(*command)
        assert (result.code, result.out) == (3, ""), command


def test_a_model_error_ends_with_4(lindoc: Run, notes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from lindoc.models import registry

    def fail(*_: object) -> None:
        raise ModelError("unknown model 'x'; known: lindoc-small")

    monkeypatch.setattr(registry, "load_encoder", fail)
    result = lindoc("embed", notes, "--model", "x")
    assert (result.code, result.out, result.err) == (4, "", "error: unknown model 'x'; known: lindoc-small\n")


def test_a_damaged_index_ends_with_5(lindoc: Run, notes: str, tmp_path: Path) -> None:
    (tmp_path / "broken.sqlite").write_bytes(b"this is no database" * 100)
    result = lindoc("ask", "who?", "--file", notes, "--index", "broken.sqlite")
    assert result.code == StoreError.exit_code and "broken.sqlite" in result.err and result.err.count("\n") == 1


def test_a_bug_is_one_line_and_70_unless_debugging(lindoc: Run, notes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from lindoc.models import registry

    def fail(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(registry, "load_encoder", fail)
    result = lindoc("embed", notes)
    assert (result.code, result.err) == (70, "error: internal: ZeroDivisionError: by nothing\n")
    monkeypatch.setenv("LINDOC_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        lindoc("embed", notes)


def test_ctrl_c_ends_with_130_and_no_traceback(lindoc: Run, notes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from lindoc.models import registry

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "load_encoder", interrupt)
    result = lindoc("embed", notes)
    assert (result.code, result.out) == (130, "") and "Traceback" not in result.err


def test_a_password_opens_an_encrypted_pdf(lindoc: Run, contract: str, tmp_path: Path) -> None:
    writer = PdfWriter(PdfReader(contract))
    writer.encrypt("open sesame", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    refused = lindoc("inspect", "--text", "locked.pdf")
    assert refused.code == 3 and refused.out == "" and "--password" in refused.err
    wrong = lindoc("inspect", "--text", "locked.pdf", "--password", "sesame")
    assert wrong.code == 3 and wrong.out == ""
    opened = lindoc("inspect", "--text", "locked.pdf", "--password", "open sesame")
    assert opened.code == 0 and opened.out == lindoc("inspect", "--text", contract).out


def test_quiet_leaves_only_errors(lindoc: Run, notes: str) -> None:
    assert lindoc("embed", notes, "-o", "v.npy", "--quiet").err == ""
    assert "v.npy" in lindoc("embed", notes, "-o", "v.npy").err


def test_a_closed_pipe_ends_quietly_with_0(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("A line of text.\n" * 100_000, encoding="utf-8")
    command = [sys.executable, "-m", "lindoc", "inspect", "--text", "long.txt"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as running:
        assert running.stdout and running.stderr
        assert running.stdout.read(6) == b"A line"
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=60) == 0

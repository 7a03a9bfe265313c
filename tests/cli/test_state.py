"""`lindoc state`, on the tiny encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]
LOG = "".join(
    f"Day {day}: the ship lay still, and nobody of the crew had slept at all that night.\n\n" for day in range(9)
)


def test_saved_appended_and_loaded(lindoc: Run, tmp_path: Path, tiny_encoder: Any) -> None:
    (tmp_path / "a.log").write_text(LOG)
    saved = json.loads(lindoc("state", "save", "a.log", "-o", "one.safetensors", "--json", "--no-store").out)
    assert saved["document"] == "a.log" and saved["file"] == "one.safetensors"
    before = (tmp_path / "one.safetensors").read_bytes()
    (tmp_path / "a.log").write_text(LOG * 2)
    tiny_encoder.windows_encoded = 0
    assert lindoc("state", "append", "one.safetensors", "a.log", "-o", "two.safetensors").code == 0
    assert tiny_encoder.windows_encoded <= saved["segments"] + 1
    assert (tmp_path / "one.safetensors").read_bytes() == before
    listed = json.loads(lindoc("state", "list", "--json").out)["states"]
    assert [one["tokens"] for one in listed] == [saved["tokens"], 2 * saved["tokens"]]
    assert lindoc("state", "list").out.startswith("one.safetensors: a.log, ")
    rows = [
        json.loads(line)
        for line in lindoc("state", "load", "two.safetensors", "-", stdin="More text.").out.splitlines()
    ]
    assert [row["document"] for row in rows] == ["-"] and len(rows[0]["embedding"]) == 384
    follows = json.loads(
        lindoc("state", "append", "two.safetensors", "-", "-o", "3.safetensors", "--json", stdin="Hm.").out
    )
    assert follows["earlier"] == ["a.log"] and follows["document"] == "-"


def test_states_are_verified(lindoc: Run, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(LOG)
    lindoc("state", "save", "a.log", "-o", "s.safetensors")
    assert lindoc("state", "verify", "s.safetensors").out == "s.safetensors: ok\n"
    (tmp_path / "bad.safetensors").write_bytes((tmp_path / "s.safetensors").read_bytes()[:-9])
    result = lindoc("state", "verify", "s.safetensors", "bad.safetensors", "--json")
    assert result.code == 5 and [one["ok"] for one in json.loads(result.out)["states"]] == [True, False]
    refused = lindoc("state", "load", "bad.safetensors", "a.log")
    assert refused.code == 5 and refused.out == "" and refused.err.count("\n") == 1
    assert lindoc("state", "list", "bad.safetensors").code == 5
    assert [one["file"] for one in json.loads(lindoc("state", "list", ".", "--json").out)["states"]] == [
        "s.safetensors"
    ]


def test_wrong_usage(lindoc: Run, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(LOG)
    lindoc("state", "save", "a.log", "-o", "s.safetensors")
    assert lindoc("state", "append", "s.safetensors", "a.log", "-o", "s.safetensors").code == 2
    assert lindoc("state", "save", "a.log").code == 2
    assert lindoc("state", "save", "none.log", "-o", "x").code == 3
    assert lindoc("state", "save", ".", "-o", "x").code in (2, 0)
    assert lindoc("state").code == 2
    (tmp_path / "empty").mkdir()
    assert lindoc("state", "list", "empty").code == 1

"""Running `lindoc` in this process on the tiny encoder, or in one of its own on the real package."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lindoc.models.encoder import Encoder

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


class Terminal(io.TextIOWrapper):
    """Standard input as typed at a terminal."""

    def isatty(self) -> bool:
        return True


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def no_colour_no_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's own settings and cache stay out of the tests."""
    for name in [name for name in os.environ if name.startswith("LINDOC_")] + ["NO_COLOR", "FORCE_COLOR"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def lindoc(
    tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """lindoc("ask", "question", stdin="piped text") or typed="lines": main() on the tiny encoder, in tmp_path."""
    from lindoc.cli import app
    from lindoc.models import registry

    def run(*arguments: str, stdin: str = "", typed: str | None = None) -> Result:
        typed_or_piped = stdin if typed is None else typed
        stream = io.TextIOWrapper if typed is None else Terminal
        monkeypatch.setattr(sys, "stdin", stream(io.BytesIO(typed_or_piped.encode()), encoding="utf-8"))
        monkeypatch.setattr(sys, "argv", ["lindoc", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    monkeypatch.setattr(registry, "load_encoder", lambda *_: tiny_encoder)
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def process(tmp_path: Path) -> Run:
    """process("--help"): `python -m lindoc` in a process of its own, with the package's own model."""

    def run(*arguments: str, stdin: str | None = "", **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "lindoc", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=tmp_path,
            env={**os.environ, **environment},
            timeout=120,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def contract() -> str:
    return str(EXAMPLES / "contract.pdf")


@pytest.fixture
def chat() -> str:
    return str(EXAMPLES / "chat.log")


@pytest.fixture
def notes(tmp_path: Path) -> str:
    """A small text with paragraphs, relative to the working directory."""
    paragraphs = (
        "The lighthouse stands on the northern cliff. It was built in 1871.",
        "Its keeper was Anna Berg. She lit the lamp every evening for thirty years.",
        "Today the lamp turns by itself. Nobody lives on the cliff any more.",
    )
    (tmp_path / "notes.txt").write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    return "notes.txt"

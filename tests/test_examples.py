"""Every example script runs from another directory on the shipped model, and the example files are what they claim."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script)], capture_output=True, text=True, encoding="utf-8", cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_embed_pdf(tmp_path: Path) -> None:
    lines = run("embed_pdf.py", tmp_path).splitlines()
    pages = [int(line.split()[1]) for line in lines[:-1]]
    assert pages == sorted(pages) and set(pages) == set(range(1, 8))
    alike = re.fullmatch(r"most alike: segments (\d+) and (\d+), cosine (0\.\d\d)", lines[-1])
    assert alike and alike[1] != alike[2] and float(alike[3]) > 0.3


@pytest.mark.slow
def test_ask_repo(tmp_path: Path) -> None:
    output = run("ask_repo.py", tmp_path)
    sources = [path for path in (EXAMPLES / "repo").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    count = int(output.split()[0])
    assert 7 <= count <= len(sources)
    for document, first, last in re.findall(r"^  (\S+), lines (\d+)-(\d+):", output, re.M):
        text = (EXAMPLES / "repo" / document).read_text("utf-8").splitlines()
        assert 1 <= int(first) <= int(last) <= len(text)


@pytest.mark.slow
def test_summarize_chat(tmp_path: Path) -> None:
    output = run("summarize_chat.py", tmp_path)
    log = (EXAMPLES / "chat.log").read_text("utf-8")
    messages = re.findall(r"^  message (\d+), (\S+) <(\S+)> (.*)$", output, re.M)
    assert len(messages) == 7
    for number, time, speaker, text in messages:
        assert log.splitlines()[int(number) - 1].startswith(f"[{time}] <{speaker}> ")
        assert " ".join(text.split()) in " ".join(log.split())


def test_the_chat_log_is_one_message_a_line() -> None:
    lines = (EXAMPLES / "chat.log").read_text("utf-8").splitlines()
    assert len(lines) == 159
    assert all(re.match(r"\[\d\d:\d\d\] <\S+> \S", line) for line in lines)


def test_sources_and_licences_are_named() -> None:
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    for name in ("CUAD", "The Atticus Project", "CC BY 4.0", "irc-disentanglement", "contract.pdf", "chat.log"):
        assert name in readme

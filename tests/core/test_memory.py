"""Law 6: memory stays flat from 20 thousand to 400 thousand tokens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, tracemalloc; sys.path.insert(0, {tests!r})
from pathlib import Path
from tiny import TinyEncoder
from lindoc.core.formats import Source
from lindoc.core.pipeline import Library
from lindoc.core.store import Store

encoder = TinyEncoder(dim=64, window=256)
path = Path(sys.argv[1])
with Store.open(path.with_suffix(".sqlite"), encoder=encoder) as store:
    library = Library(encoder, store)
    work = library.embed if sys.argv[3] == "embed" else library.read
    def run(name):
        source = [Source(name, path.parent / name)]
        return sum(one.tokens for one in library.embed(source, dim=64)) if sys.argv[3] == "embed" else library.read(source)
    run("warm.txt")
    tracemalloc.start()
    run("small.txt")
    small = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    held = tracemalloc.get_traced_memory()[0]
    run("large.txt")
    print(small, tracemalloc.get_traced_memory()[1], held)
"""


@pytest.mark.parametrize("task", ["embed", "read"])
def test_memory_is_flat(task: str, tmp_path: Path) -> None:
    for name, paragraphs in (("warm.txt", 100), ("small.txt", 600), ("large.txt", 12_000)):
        with (tmp_path / name).open("w") as file:
            for at in range(paragraphs):
                file.write(
                    f"Paragraph {at} of {name}: " + "the quick brown fox sees a lazy dog again, " * 3 + "it ends.\n\n"
                )
    script = SCRIPT.format(tests=str(Path(__file__).resolve().parents[1]))
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "index"), "", task],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    small, large, _ = map(int, result.stdout.split())
    assert large < 1.1 * small + 100_000  # bytes of Python objects

"""Law 6: memory stays flat from 20 thousand to 400 thousand tokens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = """
import sys, tracemalloc
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tiny import TinyEncoder
from lindoc.core.formats import Source
from lindoc.core.pipeline import Library
from lindoc.core.store import Store

def peak(name):
    tracemalloc.reset_peak()
    source = Source(name, Path(sys.argv[2]) / name)
    if sys.argv[1] == "embed":
        assert sum(1 for _ in library.embed([source], dim=64)) > 1
    else:
        assert library.read([source]) == 1
    return tracemalloc.get_traced_memory()[1]

encoder = TinyEncoder(dim=64, window=256)
with Store.open(Path(sys.argv[2]) / "index.sqlite", encoder=encoder) as store:
    library = Library(encoder, store)
    tracemalloc.start()
    peak("small.txt")  # what is loaded once
    print(peak("again.txt"), peak("large.txt"))
"""


@pytest.mark.parametrize("task", ["embed", "read"])
def test_memory_is_flat(task: str, tmp_path: Path) -> None:
    for name, paragraphs in (("small.txt", 570), ("again.txt", 575), ("large.txt", 11_400)):
        with (tmp_path / name).open("w") as file:
            for at in range(paragraphs):
                words = "the quick brown fox sees a lazy dog, " * 3
                file.write(f"Paragraph {at} of {name} says: {words} and it ends here.\n\n")
    command = [sys.executable, "-c", SCRIPT, task, str(tmp_path), str(TESTS)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=TESTS)
    assert result.returncode == 0, result.stderr
    small, large = map(int, result.stdout.split())  # bytes of Python objects
    # a reader looks at the first megabyte at once; text and tokens, if they were held, would be over 40 MB
    assert large - small < 3_000_000

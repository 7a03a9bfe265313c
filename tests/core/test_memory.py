"""Law 6: memory grows by less than a tenth from 20 thousand to 400 thousand tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
STATUS = Path("/proc/self/status")
SCRIPT = """
import gc, sys, tracemalloc
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tiny import TinyEncoder
from lindoc.core.formats import Source
from lindoc.core.pipeline import Library
from lindoc.core.progress import Silent
from lindoc.core.store import Store

class Peaks(Silent):
    def start(self, name, total_bytes):
        gc.collect()
        gc.freeze()  # so that collecting at every step is cheap, and the moment it comes makes no difference
        tracemalloc.reset_peak()
        self.tokens = self.resident = 0

    def advance(self, bytes_done, tokens):
        gc.collect()
        self.tokens += tokens
        status = Path("/proc/self/status").read_text()
        self.resident = max(self.resident, int(status.partition("RssAnon:")[2].split()[0]))

def peaks(name):
    source = Source(name, Path(sys.argv[2]) / name)
    if sys.argv[1] == "embed":
        assert sum(one.tokens for one in library.embed([source], dim=64)) == seen.tokens
    else:
        assert library.read([source]) == 1
    return seen.tokens, seen.resident << 10, tracemalloc.get_traced_memory()[1]

encoder, seen = TinyEncoder(dim=64, window=256), Peaks()
with Store.open(Path(sys.argv[2]) / "index.sqlite", encoder=encoder) as store:
    library = Library(encoder, store, progress=seen)
    tracemalloc.start()
    peaks("first.txt")  # what is loaded once
    print(*peaks("small.txt"), *peaks("large.txt"))
"""


@pytest.mark.skipif(not STATUS.exists(), reason="anonymous resident memory is read from /proc")
@pytest.mark.parametrize("task", ["embed", "read"])
def test_memory_grows_by_less_than_a_tenth(task: str, tmp_path: Path) -> None:
    """Two peaks of one process, the tiny encoder's: its anonymous resident memory, sampled at every window, and the
    Python objects alive once reading has begun. The second is a hundredth of the first, so the same tenth finds a
    reader that holds one byte for every three tokens."""
    for name, paragraphs in (("first.txt", 545), ("small.txt", 545), ("large.txt", 10_900)):
        with (tmp_path / name).open("w") as file:
            for at in range(paragraphs):
                words = "everybody understands immediately whatever international organisations publish, " * 3
                file.write(f"Paragraph {at} of {name} says: {words} and it ends here.\n\n")
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, task, str(tmp_path), str(TESTS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=TESTS,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    small_tokens, small_resident, small_objects, tokens, resident, objects = map(int, result.stdout.split())
    assert small_tokens >= 20_000 and tokens >= 20 * small_tokens
    assert resident < 1.1 * small_resident  # bytes
    assert objects < 1.1 * small_objects  # bytes

"""Kill `lindoc index` with SIGKILL at random moments; every run goes on, and the index ends as if undisturbed.

python -m examples.bench.crash --kills 100
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from lindoc.core.formats import find_sources
from lindoc.core.pipeline import Library
from lindoc.core.store import Store
from lindoc.models.encoder import Encoder
from lindoc.models.registry import load_encoder

WORDS = ("river", "stone", "lantern", "copper", "winter", "signal", "marble", "orchard", "velvet", "harbor", "engine")
ROWS = "SELECT sha256, idx, start, s.tokens, s.unknown, text, identifiers, marks, encoding, s.vector FROM segments s "
ROWS += "JOIN contents c ON content = c.id ORDER BY sha256, idx"
TOLERANCE = 1e-5  # of vectors: blocks of other sizes add up in another order


def write_documents(folder: Path, files: int, lines: int) -> None:
    chosen = random.Random(0)
    for file in range(files):
        text = (" ".join(chosen.choices(WORDS, k=chosen.randrange(8, 40))) for _ in range(lines))
        (folder / f"{file}.txt").write_text("".join(f"Line {at}: {line}.\n\n" for at, line in enumerate(text)))


def update(index: Path, documents: Path, encoder: Encoder) -> None:
    with Store.open(index, encoder=encoder) as store:
        Library(encoder, store, block=2).update(find_sources([str(documents)]), [str(documents)])


def child(index: Path, documents: Path, encoder: Encoder) -> int:
    """The id of a process that brings the index up to date; the model was loaded before."""
    if (pid := os.fork()) == 0:
        try:
            update(index, documents, encoder)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


def is_same(one: Path, other: Path) -> bool:
    """Whether two indexes hold the same rows; vectors within TOLERANCE. Their word indexes are checked too."""
    held = []
    for path in (one, other):
        connection = sqlite3.connect(path)
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            return False
        rows = connection.execute(ROWS).fetchall()
        held.append(([row[:-1] for row in rows], np.stack([np.frombuffer(row[-1], np.float32) for row in rows])))
        connection.close()
    (rows, vectors), (other_rows, other_vectors) = held
    return rows == other_rows and float(np.abs(vectors - other_vectors).max()) <= TOLERANCE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--files", type=int, default=12)
    parser.add_argument("--lines", type=int, default=60, help="paragraphs a file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # a forked process has no other threads
    encoder, moments = load_encoder("lindoc-small", "cpu"), random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder, documents = Path(name), Path(name) / "documents"
        documents.mkdir()
        write_documents(documents, options.files, options.lines)
        began = time.monotonic()
        update(folder / "once.sqlite", documents, encoder)
        whole = time.monotonic() - began
        killed = rounds = 0
        index = folder / "index.sqlite"
        while killed < options.kills:
            pid = child(index, documents, encoder)
            time.sleep(moments.uniform(0, 0.1 * whole))
            os.kill(pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            killed += status == -signal.SIGKILL
            if status == 1:
                raise SystemExit(f"a run failed by itself after {killed} kills")
            if status == 0:  # it came to its end: check it and begin again
                rounds += 1
                _check(index, folder / "once.sqlite", killed)
                index = folder / f"index-{rounds}.sqlite"
        update(index, documents, encoder)
        _check(index, folder / "once.sqlite", killed)
        print(f"{killed} kills, {rounds + 1} indexes, each equal to the undisturbed one ({whole:.1f} s)")


def _check(index: Path, undisturbed: Path, killed: int) -> None:
    if not is_same(index, undisturbed):
        raise SystemExit(f"{index}: differs from the undisturbed one after {killed} kills")


if __name__ == "__main__":
    main()

"""Sets of two texts a row: stsb."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from examples.data.rows import Row, Splits
from examples.data.sources import Source, Tree

STSB = Source(
    "PhilipMay/stsb-multi-mt",
    "30de0dec4ee199b7f42351d3f1a0b19592955385",
    ("/data/stsb-en-train.csv", "/data/stsb-en-dev.csv"),
)


def stsb(tree: Tree) -> Splits:
    return {split: _scored(tree.text(f"data/stsb-en-{split}.csv")) for split in ("train", "dev")}


def _scored(table: str) -> Iterator[Row]:
    for a, b, score in csv.reader(io.StringIO(table, newline="")):
        yield {"a": a, "b": b, "score": float(score)}

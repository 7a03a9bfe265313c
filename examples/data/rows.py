"""Rows of a set: their identities, and the file they are written to with the figures that tell it from another."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zstandard

Row = dict[str, Any]
Splits = Mapping[str, Iterable[Row]]


def identity(*parts: str) -> str:
    """A stable name for a row that has none at its source: 20 hexadecimal digits."""
    return hashlib.sha1("\x1f".join(parts).encode()).hexdigest()[:20]


def share(name: str, key: str) -> float:
    """Where in 0 … 1 a row or document of the set falls, by which it belongs to a split for good."""
    return int(hashlib.sha1(f"{name}{key}".encode()).hexdigest(), 16) / 2**160


def words(text: str) -> str:
    """The text without signs and capitals."""
    return " ".join(re.findall(r"\w+", text.lower()))


def likeness(query: str, positive: str) -> tuple[str, str]:
    """Equal for pairs of which one is enough: the same question, passages that begin alike."""
    return re.sub(r"\W+$", "", query.lower()), positive[:200]


def write(path: Path, rows: Iterable[Row]) -> dict[str, Any]:
    """JSON lines, zstd. Returns how many rows, and SHA-256 over them with sorted keys and without spaces, in UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    total, count = hashlib.sha256(), 0
    with path.open("wb") as file, zstandard.ZstdCompressor(level=10).stream_writer(file) as stream:
        for row in rows:
            stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            line = json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            total.update(f"{line}\n".encode())
            count += 1
    return {"rows": count, "sha256": total.hexdigest()}

"""Vectors to a file as they come: JSON lines, .npy or .safetensors, the latter two with a sidecar of locators.

A file appears under its name only when it is complete; until then it is NAME.part, removed if the work fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from lindoc.core.errors import UsageError

VectorFormat = Literal["jsonl", "npy", "safetensors"]
HEADER = 1024  # bytes kept free for the header, which needs the number of rows, known only at the end
NPY_MAGIC = b"\x93NUMPY\x01\x00"
SIDECAR = ".locators.jsonl"
DECIMALS = 7  # what float32 vectors of length 1 are worth in text


class VectorFile:
    """One open output of vectors and their records. A context manager; `write` streams."""

    def __init__(self, path: Path, format: VectorFormat, dim: int, metadata: Mapping[str, str]):
        self.path, self.format, self.dim = path, format, dim
        self.metadata = dict(metadata)
        self.rows = 0
        self._parts: list[tuple[Path, Path]] = []  # (while written, when complete)
        self._binary: BinaryIO | None = None
        records = path if format == "jsonl" else path.with_name(path.name + SIDECAR)
        try:
            if format != "jsonl":
                self._binary = self._part(path).open("wb")
                self._binary.write(b" " * HEADER)
            self._records: TextIO = self._part(records).open("w", encoding="utf-8")
        except OSError as exc:
            self._discard()
            raise UsageError(f"{path}: cannot be written: {exc.strerror}") from exc

    def write(self, record: Mapping[str, Any], vector: NDArray[np.float32]) -> None:
        """vector : (dim,) float32"""
        if self._binary is None:
            line: dict[str, Any] = {**record, "embedding": as_numbers(vector)}
        else:
            self._binary.write(np.ascontiguousarray(vector, dtype="<f4").tobytes())
            line = {"row": self.rows, **record}
        self._records.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.rows += 1

    def __enter__(self) -> VectorFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            self._discard()
            return
        if self._binary is not None:
            header = npy_header if self.format == "npy" else safetensors_header
            self._binary.seek(0)
            self._binary.write(header(self.rows, self.dim, self.metadata))
            self._binary.close()
        self._records.close()
        for part, path in self._parts:
            os.replace(part, path)

    def _part(self, path: Path) -> Path:
        part = path.with_name(path.name + ".part")
        self._parts.append((part, path))
        return part

    def _discard(self) -> None:
        for handle in (self._binary, getattr(self, "_records", None)):
            if handle is not None:
                handle.close()
        for part, _ in self._parts:
            part.unlink(missing_ok=True)


def as_numbers(vector: NDArray[np.float32]) -> list[float]:
    """(dim,) float32 -> numbers for JSON."""
    return [round(value, DECIMALS) for value in vector.tolist()]


def npy_header(rows: int, dim: int, metadata: Mapping[str, str]) -> bytes:
    """HEADER bytes of a version 1.0 .npy file of (rows, dim) float32; the format has no room for metadata."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}".encode("ascii")
    room = HEADER - len(NPY_MAGIC) - 2  # the length field has two bytes
    return NPY_MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n"


def safetensors_header(rows: int, dim: int, metadata: Mapping[str, str]) -> bytes:
    """HEADER bytes of a .safetensors file that holds the one tensor `embeddings` (rows, dim) float32."""
    tensor = {"dtype": "F32", "shape": [rows, dim], "data_offsets": [0, rows * dim * 4]}
    text = json.dumps({"__metadata__": dict(metadata), "embeddings": tensor}).encode()
    room = HEADER - 8  # the length field has eight bytes
    return room.to_bytes(8, "little") + text.ljust(room)

"""What the user named on the command line to single inputs: files, directories, standard input."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from lindoc.core.errors import DocumentError

HASH_BLOCK = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Source:
    """One input. `path` is None for standard input, whose bytes lie in an unlinked 0600 temporary file."""

    name: str  # as the user gave it, relative to DIR under --repo, "-" for stdin
    path: Path | None
    spool: BinaryIO | None = field(default=None, repr=False, compare=False)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The bytes, seekable; seek before each read. Raises DocumentError."""
        if self.path is None:
            if self.spool is None:
                raise DocumentError(self.name, "standard input was not read; give '-' as the path")
            yield self.spool
            return
        try:
            handle = self.path.open("rb")
        except (OSError, ValueError) as exc:
            raise DocumentError(self.name, why(exc)) from exc
        with handle:
            yield handle

    def head(self, size: int) -> bytes:
        """The first `size` bytes. Raises DocumentError if it cannot be read or is empty."""
        with self.opened() as handle:
            handle.seek(0)
            try:
                head: bytes = handle.read(size)
            except OSError as exc:
                raise DocumentError(self.name, why(exc)) from exc
        if not head:
            raise DocumentError(self.name, "is empty")
        return head

    def fingerprint(self, most: int = sys.maxsize) -> tuple[int, str]:
        """Size in bytes and SHA-256 of the source, or of its first `most` bytes."""
        digest, size = hashlib.sha256(), 0
        with self.opened() as handle:
            handle.seek(0)
            try:
                while block := handle.read(min(HASH_BLOCK, most - size)):
                    digest.update(block)
                    size += len(block)
            except OSError as exc:
                raise DocumentError(self.name, why(exc)) from exc
        return size, digest.hexdigest()

    def modified(self) -> int:
        """When the file was last changed, in nanoseconds; 0 for standard input. Raises DocumentError."""
        try:
            return 0 if self.path is None else self.path.stat().st_mtime_ns
        except (OSError, ValueError) as exc:
            raise DocumentError(self.name, why(exc)) from exc

    def begins_with(self, size: int, sha256: str) -> bool:
        """Whether its first `size` bytes have this hash."""
        return self.fingerprint(size) == (size, sha256)


def find_sources(
    paths: Sequence[str],
    *,
    repo: bool = False,
    max_file_size: int = 4_000_000,
    skipped: Counter[str] | None = None,
) -> Iterator[Source | DocumentError]:
    """Single inputs in the order given; directories are walked in name order.

    An input that cannot be read is yielded as a DocumentError, so that the others go on. `max_file_size` is in
    bytes and holds for files found by walking, not for files named. `skipped` counts what walking left out,
    by reason.
    """
    from lindoc.core.formats.walker import walk

    counted: Counter[str] = Counter() if skipped is None else skipped
    for given in paths:
        if given == "-":
            yield _stdin()
            continue
        path = Path(given)
        try:
            is_directory = path.is_dir()
            if not is_directory:
                path.stat()
        except (OSError, ValueError) as exc:
            yield DocumentError(given, why(exc))
            continue
        if is_directory:
            yield from walk(path, given, repo=repo, max_file_size=max_file_size, skipped=counted)
        elif path.is_file():
            yield Source(given, path)
        else:
            yield DocumentError(given, "is neither a file nor a directory; pipe it into '-' instead")


def why(exc: Exception) -> str:
    """One line for the user out of an error of the operating system."""
    if isinstance(exc, FileNotFoundError):
        return "no such file or directory"
    if isinstance(exc, PermissionError):
        return "no permission to read it"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror[:1].lower() + exc.strerror[1:]
    return str(exc) or type(exc).__name__


class _Spool(FileIO):
    """A temporary file without a name that only this user may read; closed with its last reader."""

    def __init__(self) -> None:
        handle, path = tempfile.mkstemp(prefix="lindoc-")  # mode 0600
        os.unlink(path)
        super().__init__(handle, "r+b")

    def __del__(self) -> None:
        self.close()


def _stdin() -> Source | DocumentError:
    """Standard input, copied where it can be read more than once."""
    if sys.stdin is None:
        return DocumentError("-", "standard input is closed")
    try:
        spool = _Spool()
        shutil.copyfileobj(sys.stdin.buffer, spool, HASH_BLOCK)
    except (OSError, ValueError) as exc:
        return DocumentError("-", why(exc))
    return Source("-", None, spool)

"""One writer at a time: a lock beside the index, which the system takes back from a program that was killed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from lindoc.core.errors import StoreError

if sys.platform != "win32":
    import fcntl

TRY_EVERY = 0.05  # seconds
PID = 8  # bytes of a process id in the file, which no walker takes for text


class Lock:
    """Held by at most one program; its file says by which."""

    def __init__(self, index: Path):
        self.index = index
        self.path = index.with_name(index.name + "-lock")
        self._file: int | None = None

    def take(self, wait: float) -> None:
        """Does nothing if it is held already. wait : seconds; then StoreError, which names the holder."""
        if self._file is not None or sys.platform == "win32":
            return
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + wait
        try:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= until:
                        raise StoreError(
                            f"{self.index}: {self._holder(file)}; wait for it, or use --no-store"
                        ) from None
                    time.sleep(TRY_EVERY)
            os.pwrite(file, os.getpid().to_bytes(PID, "little"), 0)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def _holder(file: int) -> str:
        pid = int.from_bytes(os.pread(file, PID, 0), "little")
        return f"process {pid} is reading documents into it" if pid else "another process is reading documents into it"

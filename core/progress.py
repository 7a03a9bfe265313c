"""How reading reports what it has done; the terminal decides how to show it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    def start(self, name: str, total_bytes: int) -> None:
        """Reading of one document begins."""
        ...

    def advance(self, bytes_done: int, tokens: int) -> None:
        """What was read since the last call."""
        ...

    def finish(self) -> None:
        """All reading has ended."""
        ...


class Silent:
    """A Progress that shows nothing."""

    def start(self, name: str, total_bytes: int) -> None:
        pass

    def advance(self, bytes_done: int, tokens: int) -> None:
        pass

    def finish(self) -> None:
        pass

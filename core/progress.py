"""How reading reports what it has done; the terminal decides how to show it."""

from __future__ import annotations

from typing import Protocol

MUCH_UNKNOWN = 0.05  # share of tokens the model does not know from which the user is warned


def unknown_hints(tokens: int, unknown: int) -> list[str]:
    """What to tell the user if the model does not know the language of a text."""
    share = unknown / max(tokens, 1)
    return [f"{share:.0%} of its tokens are unknown to the model, which is English"] if share > MUCH_UNKNOWN else []


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

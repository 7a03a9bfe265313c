"""What a person sees beside the data: errors, warnings and progress on stderr; colour only where it is wanted."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from lindoc.core.errors import DocumentError, LindocError

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

DELAY = 1.0  # seconds of work before a progress line appears
RESET = "\x1b[0m"
STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "red": "\x1b[31m", "yellow": "\x1b[33m", "cyan": "\x1b[36m"}


def is_colored(stream: TextIO) -> bool:
    """NO_COLOR and TERM=dumb say no, FORCE_COLOR yes, otherwise a terminal has colour."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style of STYLES if the stream (standard output by default) takes colour."""
    return f"{STYLES[style]}{text}{RESET}" if text and is_colored(stream or sys.stdout) else text


def wants_json_errors(arguments: list[str]) -> bool:
    """Whether the command line asks for JSON, before it is known to be well-formed."""
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in ours or "--jsonl" in ours


def report_error(error: LindocError, *, as_json: bool) -> None:
    """One line on stderr: `error: ...`, or one JSON object."""
    message = " ".join(str(error).split())
    if as_json:
        body: dict[str, str] = {"code": error.code, "message": message}
        if isinstance(error, DocumentError):
            body["path"] = error.path
        print(json.dumps({"error": body}, ensure_ascii=False), file=sys.stderr)
    else:
        print(f"{paint('error:', 'red', sys.stderr)} {message}", file=sys.stderr)


@dataclass(slots=True)
class Console:
    """Reports of one command; counts the inputs that failed. `quiet` leaves errors only."""

    quiet: bool = False
    json_errors: bool = False
    failures: int = 0
    progress: Progress | None = None
    _warned: set[str] = field(default_factory=set)

    def error(self, error: LindocError) -> None:
        self.failures += 1
        self._above_progress()
        report_error(error, as_json=self.json_errors)

    def warn(self, message: str) -> None:
        """Once per message."""
        if self.quiet or message in self._warned:
            return
        self._warned.add(message)
        self._above_progress()
        print(f"{paint('warning:', 'yellow', sys.stderr)} {' '.join(message.split())}", file=sys.stderr)

    def note(self, message: str) -> None:
        if not self.quiet:
            self._above_progress()
            print(paint(message, "dim", sys.stderr), file=sys.stderr)

    def start_progress(self) -> Progress | None:
        """A progress line, if a person watches stderr."""
        if not self.quiet and sys.stderr.isatty():
            self.progress = Progress()
        return self.progress

    def _above_progress(self) -> None:
        if self.progress is not None:
            self.progress.hide()


class Progress:
    """Bytes done, tokens per second and time left, on stderr, once the work has taken over a second."""

    def __init__(self) -> None:
        self._began: float | None = None  # of the whole work, which may be many documents
        self._name = ""
        self._total = 0
        self._done = 0
        self._tokens = 0
        self._display: RichProgress | None = None
        self._task: TaskID | None = None

    def start(self, name: str, total_bytes: int) -> None:
        if self._began is None:
            self._began, self._tokens = time.monotonic(), 0
        self._name, self._total, self._done = name, total_bytes, 0
        if self._display is not None and self._task is not None:
            self._display.reset(self._task, description=name, total=total_bytes or None, speed="")

    def advance(self, bytes_done: int, tokens: int) -> None:
        """`bytes_done` and `tokens` are what was read since the last call."""
        self._done += bytes_done
        self._tokens += tokens
        elapsed = time.monotonic() - (self._began or 0.0)
        if self._display is None and elapsed > DELAY:
            self._show()
        if self._display is not None and self._task is not None:
            speed = f"{self._tokens / elapsed:,.0f} tokens/s"
            self._display.update(self._task, completed=min(self._done, self._total), speed=speed)

    def finish(self) -> None:
        self.hide()
        self._began = None

    def hide(self) -> None:
        """Take the line away; the next `advance` brings it back."""
        if self._display is not None:
            self._display.stop()
            self._display = None

    def _show(self) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._display = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=RichConsole(stderr=True, no_color=not is_colored(sys.stderr)),
            transient=True,
        )
        self._task = self._display.add_task(self._name, total=self._total or None, completed=self._done, speed="")
        self._display.start()

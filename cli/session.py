"""One command's run: options to an encoder, a store and a library; inputs to sources; the exit code at the end."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lindoc.cli.console import Console
from lindoc.cli.options import Settings
from lindoc.core.errors import DocumentError, LindocError, UsageError

if TYPE_CHECKING:
    from lindoc.core.formats import Source
    from lindoc.core.pipeline import Library
    from lindoc.models.encoder import Encoder, Tokenizer

NOT_FOUND = 1


@dataclass(slots=True)
class Session:
    """What a command works with."""

    library: Library
    encoder: Encoder
    console: Console
    settings: Settings
    skipped: Counter[str] = field(default_factory=Counter)

    def sources(self, paths: Sequence[str], *, repo: bool = False) -> Iterator[Source]:
        """The inputs that can be opened, in order; the others are reported, and what a walk skipped is counted."""
        yield from readable(paths, self.console, self.settings, repo=repo, skipped=self.skipped)

    def exit(self, *, found: bool = True) -> None:
        """End with 3 if an input failed, else with 1 if nothing was found; return if all is well."""
        if self.skipped:
            counts = ", ".join(f"{count} ({reason})" for reason, count in self.skipped.most_common())
            self.console.note(f"skipped {sum(self.skipped.values())}: {counts}")
        finish(self.console, found=found)


def console_of(settings: Settings) -> Console:
    return Console(quiet=settings.quiet, json_errors=settings.json_errors)


def finish(console: Console, *, found: bool = True) -> None:
    """The exit code of a command that ran to its end."""
    if console.failures:
        raise typer.Exit(DocumentError.exit_code)
    if not found:
        raise typer.Exit(NOT_FOUND)


def readable(
    paths: Sequence[str], console: Console, settings: Settings, *, repo: bool = False, skipped: Counter[str]
) -> Iterator[Source]:
    from lindoc.core.formats import find_sources

    for source in find_sources(paths, repo=repo, max_file_size=settings.max_file_size, skipped=skipped):
        if isinstance(source, DocumentError):
            console.error(source)
        else:
            yield source


@contextmanager
def open_session(settings: Settings) -> Iterator[Session]:
    """Load the encoder and open the store. Text from standard input is kept only in an index that was asked for."""
    from lindoc.core.pipeline import Library
    from lindoc.core.store import Store

    console = console_of(settings)
    encoder = open_encoder(settings)
    path = None if settings.no_store else store_path(settings.index, encoder)
    with Store.open(path, encoder=encoder, keeps_stdin=settings.index is not None) as store:
        library = Library(
            encoder,
            store,
            password=settings.password,
            encoding=settings.encoding,
            block=settings.block,
            progress=console.start_progress(),
            on_error=console.error,
            on_warning=console.warn,
        )
        try:
            yield Session(library, encoder, console, settings)
        finally:
            if console.progress is not None:
                console.progress.finish()


def store_path(index: Path | None, encoder: Encoder | None = None) -> Path:
    """The index asked for with --index (a directory means the one in it), or the default one."""
    from lindoc.core.schema import STORE_NAME
    from lindoc.core.store import default_store_path

    if index is None:
        return default_store_path(encoder)
    return index / STORE_NAME if index.is_dir() else index


def open_encoder(settings: Settings) -> Encoder:
    """The model, on the device and the number of CPU threads that were asked for."""
    from lindoc.models.registry import load_encoder

    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)
    return load_encoder(settings.model, settings.device)


def open_tokenizer(settings: Settings) -> tuple[Tokenizer, int]:
    """The model's tokenizer, without its weights where they lie apart, and the tokens that a segment may have."""
    from lindoc.core.stream import SPECIALS
    from lindoc.models.registry import MODELS
    from lindoc.models.tokenizer import WordPieceTokenizer

    folder = MODELS[settings.model].folder if settings.model in MODELS else Path(settings.model)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tokenizer, window = WordPieceTokenizer(folder / "tokenizer.json"), int(config["window"])
        known = tokenizer.sha256 == config["tokenizer_sha256"]
    except (OSError, ValueError, KeyError, TypeError, LindocError):
        known = False
    if known:
        return tokenizer, window - SPECIALS
    encoder = open_encoder(replace(settings, device="cpu"))  # another kind of model, or a broken one, which it names
    return encoder.tokenizer, encoder.window - SPECIALS


def paths_or_stdin(paths: Sequence[str] | None) -> list[str]:
    """The paths given; without any, standard input if it is a pipe or a file."""
    if paths:
        return list(paths)
    if stdin_is_terminal():
        raise UsageError("no input: give files or directories, or pipe text in ('-' is standard input)")
    return ["-"]


def stdin_is_terminal() -> bool:
    return sys.stdin is None or sys.stdin.isatty()

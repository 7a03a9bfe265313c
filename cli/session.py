"""One command's run: options to an encoder, a store and a library; inputs to sources; the exit code at the end."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lindoc.cli.console import Console
from lindoc.cli.options import Settings
from lindoc.core.errors import DocumentError, UsageError

if TYPE_CHECKING:
    from lindoc.core.formats import Source
    from lindoc.core.pipeline import Library
    from lindoc.models.encoder import Encoder

NOT_FOUND = 1
NO_INPUT = "give files or directories, or pipe text in ('-' is standard input)"
NO_DOCUMENT = "give --file FILE or --repo DIR (then a prompt opens), or pipe a document in with a QUESTION"


@dataclass(slots=True)
class Session:
    """What a command works with."""

    library: Library
    encoder: Encoder
    console: Console
    settings: Settings
    has_index: bool = False  # something was read before this command
    skipped: Counter[str] = field(default_factory=Counter)

    def read(self, paths: Sequence[str], *, repo: str | None = None, stdin: bool = True) -> int:
        """The library's tasks now work on these inputs; without any, on what is piped in, and if nothing is, on the
        whole index. Returns how many documents that are. stdin : whether it may be a document"""
        if paths or repo is not None:
            found = chain(self.sources(paths), self.sources([repo], repo=True) if repo is not None else ())
            return self.library.read(found)
        piped = list(self.sources(["-"])) if stdin and not stdin_has_nothing() else []
        if piped and (not self.has_index or piped[0].fingerprint(1)[0]):
            return self.library.read(piped)
        if not self.has_index:
            raise no_input(stdin=stdin)
        count = self.library.open_index()
        self.console.note(f"asking the index {self.library.store.path}, {count} document{'' if count == 1 else 's'}")
        return count

    def sources(self, paths: Sequence[str], *, repo: bool = False) -> Iterator[Source]:
        """The inputs that can be opened, in order; the others are reported, and what a walk skipped is counted."""
        yield from readable(paths, self.console, self.settings, repo=repo, skipped=self.skipped)

    def found(self, paths: Sequence[str], *, quiet_missing: bool = False) -> Iterator[Source | DocumentError]:
        """All inputs, those that cannot be opened too, which the library reports. quiet_missing : but for paths that
        are not there"""
        from lindoc.core.formats import find_sources

        given = [path for path in paths if not quiet_missing or os.path.exists(path)]
        yield from find_sources(given, max_file_size=self.settings.max_file_size, skipped=self.skipped)

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
def open_session(settings: Settings, *, make: bool = False) -> Iterator[Session]:
    """Load the encoder and open the store. Text from standard input is kept only in an index that was asked for.

    make : if no index was chosen, make one in this folder
    """
    from lindoc.core.pipeline import Library
    from lindoc.core.schema import make_index_folder
    from lindoc.core.store import Store

    console = console_of(settings)
    encoder = open_encoder(settings)
    path = chosen_index(settings) if make else None if settings.no_store else store_path(settings.index, encoder)
    if make and path is not None:
        make_index_folder(path)
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
            yield Session(library, encoder, console, settings, path is not None and not store.is_empty())
        finally:
            if console.progress is not None:
                console.progress.finish()


def chosen_index(settings: Settings) -> Path:
    """Where `lindoc index` writes: the index asked for, or one in a .lindoc/, which need not be there yet."""
    from lindoc.core.schema import index_path

    return index_path() if settings.index is None else store_path(settings.index)


def store_path(index: Path | None, encoder: Encoder | None = None) -> Path:
    """The index asked for with --index (a directory means the one in it), or the default one."""
    from lindoc.core.schema import STORE_NAME, default_store_path

    if index is None:
        return default_store_path(encoder)
    return index / STORE_NAME if index.is_dir() else index


def latest_index(index: Path | None) -> Path:
    """The index asked for, or the default one, whatever the model; it need not be there."""
    from lindoc.core.schema import latest_store_path

    return latest_store_path() if index is None else store_path(index)


def open_encoder(settings: Settings) -> Encoder:
    """The model, on the device and the number of CPU threads that were asked for."""
    from lindoc.models.registry import load_encoder

    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)
    return load_encoder(settings.model, settings.device)


def paths_or_stdin(paths: Sequence[str] | None) -> list[str]:
    """The paths given; without any, standard input if it is a pipe or a file."""
    if paths:
        return list(paths)
    if stdin_is_terminal():
        raise UsageError(f"no input: {NO_INPUT}")
    return ["-"]


def check_input(settings: Settings, *, given: bool, stdin: bool = True) -> None:
    """Raises UsageError, before a model is loaded, if there is nothing to work on. given : whether any inputs are"""
    if given or (stdin and not stdin_has_nothing()):
        return
    if settings.no_store or not latest_index(settings.index).exists():
        raise no_input(stdin=stdin)


def no_input(*, stdin: bool) -> UsageError:
    return UsageError(f"no input: {NO_INPUT if stdin else NO_DOCUMENT}; or make an index with 'lindoc index PATH'")


def stdin_is_terminal() -> bool:
    return sys.stdin is None or sys.stdin.isatty()


def stdin_has_nothing() -> bool:
    """Whether it is a terminal or a device such as /dev/null, and no pipe or file."""
    if stdin_is_terminal():
        return True
    try:
        return stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode)
    except (OSError, ValueError):
        return False

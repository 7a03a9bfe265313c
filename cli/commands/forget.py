"""`lindoc forget`: remove what was kept of a document."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lindoc.cli import options
from lindoc.cli.session import NOT_FOUND, store_path
from lindoc.cli.show import print_json
from lindoc.core.errors import UsageError

EVERYTHING = (os.sep, "-")  # all files of the machine, and standard input


def forget(
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATH…", show_default=False)] = None,
    all: Annotated[bool, typer.Option("--all", help="Forget every document of the index.")] = False,
    index: options.Index = None,
    json: options.Json = False,
) -> None:
    """Remove documents from the index.

    Text, places and vectors go. A directory stands for all that lies in it.

    \b
    lindoc forget contract.pdf
    """
    if bool(paths) == all:
        raise UsageError("give the paths to forget, or --all")
    count = sum(_forget(store, EVERYTHING if all else paths or []) for store in _stores(index))
    if json:
        print_json({"forgotten": count})
    else:
        print(f"{count} document{'' if count == 1 else 's'} forgotten")
    if not count:
        raise typer.Exit(NOT_FOUND)


def _stores(index: Path | None) -> list[Path]:
    """The index asked for, or every one that may hold what was read from here."""
    from lindoc.core.store import store_files

    if index is None:
        return store_files()
    path = store_path(index)
    if not path.exists():
        raise UsageError(f"{path}: no such index")
    return [path]


def _forget(path: Path, documents: Sequence[str]) -> int:
    from lindoc.core.store import Store

    with Store.open(path) as store:
        return sum(store.forget(document) for document in documents)

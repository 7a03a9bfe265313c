"""`lindoc forget`: remove what was kept of a document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lindoc.cli import options
from lindoc.cli.session import NOT_FOUND
from lindoc.cli.show import print_json
from lindoc.core.errors import UsageError


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
    from lindoc.core.store import default_store_path, forget_all, forget_paths

    if bool(paths) == all:
        raise UsageError("give the paths to forget, or --all")
    store = index or default_store_path()
    count = forget_all(store) if all else forget_paths(store, [Path(path) for path in paths or []])
    if json:
        print_json({"forgotten": count, "index": str(store)})
    else:
        print(f"{count} document{'' if count == 1 else 's'} forgotten")
    if not count:
        raise typer.Exit(NOT_FOUND)

"""`lindoc index`: read files once, for ever; called again, bring the index up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lindoc.cli import options
from lindoc.cli.session import chosen_index, open_session
from lindoc.cli.show import print_json
from lindoc.core.errors import UsageError

NOTHING_YET = "nothing was indexed here yet: give files or directories"


@options.with_settings("model", "device", "threads", "block", "index", "password", "encoding", "max_file_size", "quiet")
def index(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH…", help="Files and directories; without any, those indexed before."),
    ] = None,
    *,
    settings: options.Settings,
    json: options.Json = False,
) -> None:
    """Read files into the index, or bring it up to date.

    Only what is new or has changed is read, a file that has grown from where it ended; what is gone is removed.
    Without an index chosen by --index, LINDOC_INDEX or a .lindoc/ upward, .lindoc/ is made in this folder.

    \b
    lindoc index docs/ src/
    lindoc index
    """
    if "-" in (paths or []):
        raise UsageError("'-' cannot be read again: give files and directories")
    if not paths and not chosen_index(settings).exists():
        raise UsageError(NOTHING_YET)
    with open_session(settings, make=True) as session:
        store = session.library.store
        roots = paths or store.roots()
        if not roots:
            raise UsageError(NOTHING_YET)
        for root in [] if paths else [root for root in roots if not Path(root).exists()]:
            session.console.warn(f"{root}: is gone; what was read of it is removed")
        updated = session.library.update(session.found(roots, quiet_missing=not paths), roots)
        record = {
            "read": updated.read,
            "unchanged": updated.unchanged,
            "removed": updated.removed,
            "failed": updated.failed,
            "index": store.path,
            "bytes": store.size(),
        }
        if json:
            print_json(record, indent=2)
        else:
            counts = ", ".join(f"{record[name]} {name}" for name in ("read", "unchanged", "removed", "failed"))
            print(f"{counts}; {store.path}, {store.size() / 1e6:,.1f} MB")
        session.exit()

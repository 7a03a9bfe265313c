"""`lindoc status`: what the index holds, what is pending, stale or failed, and where it lies."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from lindoc.cli import options
from lindoc.cli.console import paint
from lindoc.cli.session import NOT_FOUND, latest_index
from lindoc.cli.show import print_json
from lindoc.core.errors import UsageError

STANDINGS = ("done", "pending", "stale", "failed")


def status(
    index: options.Index = None,
    all: Annotated[bool, typer.Option("--all", help="Name the documents that are done, too.")] = False,
    json: options.Json = False,
) -> None:
    """Show what the index holds, what is pending, stale or failed and why, its size and where it lies.

    \b
    lindoc status
    lindoc status --json
    """
    from lindoc.core.store import Store

    path = latest_index(index)
    if not path.exists():
        if index is not None:
            raise UsageError(f"{path}: no such index")
        if json:
            print_json({"index": None})
        else:
            print("no index here; 'lindoc index PATH' makes one")
        raise typer.Exit(NOT_FOUND)
    with Store.open(path) as store:
        header = store.header()
        records = [_record(one) for one in store.listed()]
        counts = Counter(record["status"] for record in records)
        summary: dict[str, Any] = {
            "index": str(path),
            "bytes": store.size(),
            "model": header.get("model"),
            "roots": store.roots(),
            "documents": {standing: counts[standing] for standing in STANDINGS},
            "segments": sum(record["segments"] for record in records),
            "tokens": sum(record["tokens"] for record in records),
        }
    if json:
        print_json({**summary, "files": records}, indent=2)
        return
    print(f"{path}, {summary['bytes'] / 1e6:,.1f} MB, model {summary['model']}")
    print(", ".join(f"{counts[standing]} {standing}" for standing in STANDINGS), end="; ")
    print(f"{summary['segments']:,} segments, {summary['tokens']:,} tokens")
    for record in records:
        if all or record["status"] != "done":
            reason = f": {record['reason']}" if "reason" in record else ""
            standing = paint(record["status"].ljust(8), "dim" if record["status"] == "done" else "yellow")
            print(f"{standing}{record['path']}{reason}")


def _record(listed: Any) -> dict[str, Any]:
    from lindoc.core.shelf import shown_path

    standing, reason = listed.standing()
    record = {"path": shown_path(listed.path), "status": standing, "segments": listed.segments, "tokens": listed.tokens}
    return {**record, "reason": reason} if reason else record

"""`lindoc search`: ranked passages with their places."""

from __future__ import annotations

from typing import Annotated

import typer

from lindoc.cli import options
from lindoc.cli.session import check_input, finish, open_session
from lindoc.cli.show import passage_record, print_json, print_passage, print_record
from lindoc.core.errors import UsageError


@options.with_settings()
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", show_default=False)],
    paths: options.Paths = None,
    k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="How many passages.")] = 10,
    *,
    settings: options.Settings,
    json: options.Json = False,
    jsonl: options.JsonLines = False,
) -> None:
    """Find passages by words and by meaning.

    Without PATH in what is piped in, and if nothing is, in the whole index.

    \b
    lindoc search "retry with backoff" src/ -k 3
    """
    if not query.strip():
        raise UsageError("the query is empty")
    check_input(settings, given=bool(paths))
    with open_session(settings) as session:
        if not session.read(paths or []):
            finish(session.console, found=False)
        passages = session.library.search(query, k)
        records = [passage_record(rank, passage) for rank, passage in enumerate(passages, 1)]
        if json:
            print_json({"query": query, "passages": records}, indent=2)
        for rank, passage in enumerate(passages, 1):
            if jsonl:
                print_record(records[rank - 1])
            elif not json:
                print_passage(rank, passage)
        session.exit(found=bool(passages))

"""`lindoc summarize`: the sentences that say most, in document order, each with its place."""

from __future__ import annotations

from typing import Annotated

import typer

from lindoc.cli import options
from lindoc.cli.session import finish, open_session, paths_or_stdin
from lindoc.cli.show import print_json, print_record, print_sentence, sentence_record
from lindoc.core.errors import UsageError


@options.with_settings()
def summarize(
    paths: options.Paths = None,
    length: Annotated[
        str, typer.Option("--length", "-l", metavar="N|N%", help="Sentences, or a share of them such as 3%.")
    ] = "5",
    query: Annotated[str | None, typer.Option("--query", metavar="TEXT", help="What it should be about.")] = None,
    *,
    settings: options.Settings,
    json: options.Json = False,
    jsonl: options.JsonLines = False,
) -> None:
    """Summarize documents by their own sentences.

    \b
    lindoc summarize report.pdf --length 3%
    cat chat.log | lindoc summarize --query "printer problems"
    """
    wanted = parse_length(length)
    given = paths_or_stdin(paths)
    with open_session(settings) as session:
        if not session.library.read(session.sources(given)):
            finish(session.console, found=False)
        sentences = session.library.summarize(wanted, query)
        if json:
            records = [sentence_record(one) for one in sentences]
            print_json({"length": length, "query": query, "sentences": records}, indent=2)
        for one in sentences:
            if jsonl:
                print_record(sentence_record(one))
            elif not json:
                print_sentence(one)
        session.exit(found=bool(sentences))


def parse_length(length: str) -> int | float:
    """`5` -> 5 sentences, `3%` -> the share 0.03."""
    try:
        wanted: int | float = float(length[:-1]) / 100 if length.endswith("%") else int(length)
    except ValueError:
        wanted = 0
    if wanted <= 0 or (isinstance(wanted, float) and wanted >= 1):
        raise UsageError(f"--length {length}: give a number of sentences such as 5, or a share below 100% such as 3%")
    return wanted

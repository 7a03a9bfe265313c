"""`lindoc inspect`: what the reader makes of one document: segments, tokens, places, or its canonical text."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lindoc.cli import options
from lindoc.cli.console import Console, paint
from lindoc.cli.session import console_of, finish, paths_or_stdin, readable
from lindoc.cli.show import clip, columns, flat, place, print_json, print_record
from lindoc.core.errors import UsageError

if TYPE_CHECKING:
    from lindoc.core.documents import Document, Segment
    from lindoc.models.encoder import Encoding


@options.with_settings("model", "password", "encoding", "quiet")
def inspect(
    file: Annotated[str | None, typer.Argument(metavar="FILE", show_default=False)] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the canonical text, which all offsets count in.")] = False,
    *,
    settings: options.Settings,
    json: options.Json = False,
    jsonl: options.JsonLines = False,
) -> None:
    """Show segments, tokens and places of a document.

    \b
    lindoc inspect report.pdf
    lindoc inspect --text report.pdf > report.txt
    """
    if text and (json or jsonl):
        raise UsageError("--text prints text as it is: leave out --json and --jsonl")
    console = console_of(settings)
    document = _open(paths_or_stdin([file] if file else None), console, settings)
    if text:
        for piece in document.pieces():
            sys.stdout.write(piece.text)
    else:
        _report(document, console, settings, json=json, jsonl=jsonl)
    for warning in document.report.warnings:
        console.warn(warning if document.name in warning else f"{document.name}: {warning}")
    for failure in document.report.failures:
        console.warn(f"{document.name}: {failure}")
    finish(console)


def _open(paths: list[str], console: Console, settings: options.Settings) -> Document:
    from lindoc.core.formats import open_document

    sources = list(readable(paths, console, settings, skipped=Counter()))
    if not sources:
        finish(console)
    if len(sources) > 1:
        raise UsageError(f"{paths[0]} is a directory: give one of its files")
    return open_document(sources[0], password=settings.password, encoding=settings.encoding)


def _report(document: Document, console: Console, settings: options.Settings, *, json: bool, jsonl: bool) -> None:
    from lindoc.core.progress import unknown_hints
    from lindoc.core.segments import segments
    from lindoc.core.stream import SPECIALS
    from lindoc.models.registry import load_tokenizer

    tokenizer, window = load_tokenizer(settings.model)
    totals: Counter[str] = Counter()
    read = _counted(segments(document, tokenizer, window - SPECIALS), totals)
    head = {"document": document.name, "kind": document.kind, "size": document.size, "sha256": document.sha256}
    if json:
        records = [_record(document, segment, encoding) for segment, encoding in read]
        print_json({**head, **totals, "segments": records}, indent=2)
    elif jsonl:
        for segment, encoding in read:
            print_record(_record(document, segment, encoding))
    else:
        for name, value in head.items():
            print(f"{name.ljust(8)} {value}")
        for segment, _ in read:
            print(_row(document, segment), flush=True)
        print(f"{totals['segment_count']:,} segments, {totals['tokens']:,} tokens, {totals['unknown']:,} unknown")
    for hint in unknown_hints(totals["tokens"], totals["unknown"]):
        console.warn(f"{document.name}: {hint}")


def _counted(read: Iterable[tuple[Segment, Encoding]], totals: Counter[str]) -> Iterator[tuple[Segment, Encoding]]:
    totals.update(segment_count=0, tokens=0, unknown=0)
    for segment, encoding in read:
        totals.update(segment_count=1, tokens=segment.tokens, unknown=encoding.unknown)
        yield segment, encoding


def _record(document: Document, segment: Segment, encoding: Encoding) -> dict[str, Any]:
    locator = segment.locate(document.name, segment.start, segment.end).as_dict()
    return {
        "segment": segment.index,
        "tokens": segment.tokens,
        "unknown": encoding.unknown,
        **locator,
        "text": segment.text,
    }


def _row(document: Document, segment: Segment) -> str:
    locator = segment.locate(document.name, segment.start, segment.end)
    where = place(locator).removeprefix(document.name).removeprefix(", ") or f"{locator.start}-{locator.end}"
    left = f"{segment.index:>6} {segment.tokens:>4} tokens  {paint(where.ljust(22), 'cyan')} "
    words = flat(segment.text[: columns() * 2], locator)
    return left + clip(words, max(columns() - 44, 20))

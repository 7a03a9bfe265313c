"""`lindoc embed`: vectors per segment or per document."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lindoc.cli import options
from lindoc.cli.console import paint
from lindoc.cli.session import Session, open_session, paths_or_stdin
from lindoc.cli.show import columns, embedding_record, embedding_row, print_record
from lindoc.core.errors import UsageError

if TYPE_CHECKING:
    from lindoc.core.results import Embedding


class Per(str, Enum):
    segment = "segment"
    document = "document"


class Format(str, Enum):
    jsonl = "jsonl"
    npy = "npy"
    safetensors = "safetensors"


class Dim(str, Enum):
    d64 = "64"
    d128 = "128"
    d256 = "256"
    d384 = "384"


@options.with_settings()
def embed(
    paths: options.Paths = None,
    per: Annotated[Per, typer.Option("--per", help="One vector per segment or per document.")] = Per.segment,
    format: Annotated[Format | None, typer.Option("--format", help="npy and safetensors need -o.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the vectors to FILE.")
    ] = None,
    dim: Annotated[Dim, typer.Option("--dim", help="Numbers per vector.")] = Dim.d384,
    text: Annotated[bool, typer.Option("--text", help="Put the text beside its vector.")] = False,
    *,
    settings: options.Settings,
    jsonl: options.JsonLines = False,
) -> None:
    """Turn documents into vectors that know their context.

    A terminal gets a table; a pipe gets JSON lines. npy and safetensors come with FILE.locators.jsonl, one line a row.

    \b
    lindoc embed report.pdf -o report.npy --format npy
    lindoc embed notes/ | jq .document
    """
    given = paths_or_stdin(paths)
    chosen = _format(format, output)
    with open_session(settings) as session:
        vectors = session.library.embed(session.sources(given), per=per.value, dim=int(dim.value))
        if output is not None:
            rows = _write(vectors, output, chosen, int(dim.value), session, text=text)
        elif format is None and not jsonl and sys.stdout.isatty():
            rows = _show(vectors, session)
        else:
            rows = _stream(vectors, text=text)
        session.exit(found=rows > 0)


def _format(format: Format | None, output: Path | None) -> Format:
    if format is None:
        suffix = output.suffix.lstrip(".") if output is not None else ""
        return Format(suffix) if suffix in set(Format.__members__) else Format.jsonl
    if format is not Format.jsonl and output is None:
        raise UsageError(f"--format {format.value} needs -o FILE; without it choose --format jsonl")
    return format


def _stream(vectors: Iterable[Embedding], *, text: bool) -> int:
    from lindoc.core.vector_files import as_numbers

    rows = 0
    for one in vectors:
        print_record({**embedding_record(one, text=text), "embedding": as_numbers(one.vector)})
        rows += 1
    return rows


def _write(
    vectors: Iterable[Embedding], output: Path, format: Format, dim: int, session: Session, *, text: bool
) -> int:
    from lindoc.core.vector_files import VectorFile

    metadata = {"model": session.encoder.name, "weights_sha256": session.encoder.weights_sha256}
    with VectorFile(output, format.value, dim, metadata) as file:
        for one in vectors:
            file.write(embedding_record(one, text=text), one.vector)
    session.console.note(f"{file.rows} vectors of {dim} numbers in {output}")
    return file.rows


def _show(vectors: Iterable[Embedding], session: Session) -> int:
    left = max(24, columns() * 2 // 5)
    rows = 0
    for rows, one in enumerate(vectors, 1):
        if rows == 1:
            print(paint(f"{'place'.ljust(left)} {'tokens':>8}  first words", "bold"))
        print(embedding_row(one), flush=True)
    session.console.note(f"{rows} vectors; get them with -o FILE.npy (or .safetensors, .jsonl), or through a pipe")
    return rows

"""`lindoc state`: a document's state as a file, to be appended to and forked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lindoc.cli import options
from lindoc.cli.options import EXIT_CODES
from lindoc.cli.session import NOT_FOUND, Session, open_encoder, open_session
from lindoc.cli.show import embedding_record, print_json, print_record
from lindoc.core.errors import DocumentError, StoreError, UsageError

if TYPE_CHECKING:
    from lindoc.core.formats import Source
    from lindoc.core.states import SavedState

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
File = Annotated[Path, typer.Argument(metavar="STATE", help="A file that 'lindoc state save' wrote.")]
Files = Annotated[list[Path], typer.Argument(metavar="STATE…", help="Files that 'lindoc state save' wrote.")]
Input = Annotated[str, typer.Argument(metavar="PATH", help="A file; '-' is standard input.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the state goes; not STATE itself.")]


@app.callback()
def state(ctx: typer.Context) -> None:
    """Save a document's state, append to it, read other texts after it."""
    options.help_without_command(ctx)


@app.command("save", epilog=EXIT_CODES)
@options.with_settings("model", "device", "threads", "block", "index", "no_store", "quiet")
def save(path: Input, output: Output, *, settings: options.Settings, json: options.Json = False) -> None:
    """Read a document and save the state after it.

    \b
    lindoc state save year.log -o year.safetensors
    """
    from lindoc.core.states import save_state

    with open_session(settings) as session:
        source = _source(session, path)
        _write(session, output, save_state(source, session.encoder, session.library.store, block=settings.block), json)


@app.command("append", epilog=EXIT_CODES)
@options.with_settings("model", "device", "threads", "block", "quiet")
def append(file: File, path: Input, output: Output, *, settings: options.Settings, json: options.Json = False) -> None:
    """Save the state after more text; only that text is read.

    PATH is the document itself, which has grown, or a text that follows it. STATE stays as it is.

    \b
    lindoc state append year.safetensors year.log -o later.safetensors
    """
    from lindoc.core.state_files import read_state
    from lindoc.core.states import append_state

    if output.resolve() == file.resolve():
        raise UsageError(f"{file}: a saved state is not written over; give another file with -o")
    with open_session(replace(settings, no_store=True)) as session:
        saved = read_state(file, session.encoder)
        source = _source(session, path)
        _write(session, output, append_state(saved, source, session.encoder, block=settings.block), json)


@app.command("load", epilog=EXIT_CODES)
@options.with_settings("model", "device", "threads", "block", "quiet")
def load(
    file: File,
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files and directories; '-' is standard input.")],
    dim: Annotated[int, typer.Option("--dim", min=1, metavar="N", help="Numbers per vector.")] = 384,
    text: Annotated[bool, typer.Option("--text", help="Put the text beside its vector.")] = False,
    *,
    settings: options.Settings,
    jsonl: options.JsonLines = False,
) -> None:
    """Vectors of texts as read after the saved document, each of them on a fork of its state.

    \b
    lindoc state load year.safetensors today.log | jq .document
    """
    from lindoc.core.state_files import read_state
    from lindoc.core.states import fork_state
    from lindoc.core.vector_files import as_numbers

    with open_session(replace(settings, no_store=True)) as session:
        saved, rows = read_state(file, session.encoder), 0
        for source in session.sources(paths):
            try:
                for one in fork_state(saved, source, session.encoder, dim=dim, block=settings.block):
                    print_record({**embedding_record(one, text=text), "embedding": as_numbers(one.vector)})
                    rows += 1
            except DocumentError as error:
                session.console.error(error)
        session.exit(found=rows > 0)


@app.command("list", epilog=EXIT_CODES)
def list_states(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="STATE…", help="Files or folders; without any, this folder.")
    ] = None,
    json: options.Json = False,
) -> None:
    """What saved states are of.

    \b
    lindoc state list
    """
    from lindoc.core.state_files import state_facts

    found: list[dict[str, Any]] = []
    for path in paths or [Path()]:
        if not path.is_dir():
            found.append(dict(state_facts(path)))
            continue
        for file in sorted(path.glob("*.safetensors")):
            try:
                found.append(dict(state_facts(file)))
            except StoreError:  # other files may lie there too
                continue
    if json:
        print_json({"states": found}, indent=2)
    else:
        for one in found:
            documents = ", ".join([*one["earlier"], one["document"]])
            print(f"{one['file']}: {documents}, {one['tokens']:,} tokens, {one['model']}, {one['bytes'] / 1e6:.1f} MB")
    if not found:
        raise typer.Exit(NOT_FOUND)


@app.command("verify", epilog=EXIT_CODES)
@options.with_settings("model")
def verify(files: Files, *, settings: options.Settings, json: options.Json = False) -> None:
    """Check that files are whole and of this model.

    \b
    lindoc state verify year.safetensors
    """
    from lindoc.core.state_files import read_state

    encoder, failed = open_encoder(settings), None
    records = []
    for file in files:
        try:
            read_state(file, encoder)
            records.append({"file": str(file), "ok": True})
        except StoreError as error:
            failed = failed or error
            records.append({"file": str(file), "ok": False, "reason": str(error).removeprefix(f"{file}: ")})
    if json:
        print_json({"states": records}, indent=2)
    for record in [] if json else records:
        print(f"{record['file']}: {record.get('reason', 'ok')}")
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def _source(session: Session, path: str) -> Source:
    found = list(session.sources([path]))
    if len(found) > 1:
        raise UsageError(f"{path} is a directory: give one of its files")
    if not found:
        session.exit()
    return found[0]


def _write(session: Session, output: Path, saved: SavedState, json: bool) -> None:
    from lindoc.core.state_files import state_facts, write_state

    write_state(output, saved, session.encoder)
    facts = dict(state_facts(output))
    if json:
        print_json(facts, indent=2)
    else:
        session.console.note(f"{facts['file']}: the state after {facts['tokens']:,} tokens")
    session.exit()

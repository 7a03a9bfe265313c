"""Options and arguments that commands share, and the exit codes that every help page ends with."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from lindoc.core.errors import UsageError

EXIT_CODES = """\b
Exit codes:
  0    ok (a closed pipe included)
  1    nothing found, or the text does not answer it
  2    wrong options or arguments
  3    an input could not be read; the others were processed
  4    model or data missing, unknown, or of the wrong hash
  5    index damaged, locked, or of another version
  70   internal error (LINDOC_DEBUG=1 shows the traceback)
  130  interrupted"""

Paths = Annotated[
    list[str] | None,
    typer.Argument(metavar="PATH…", help="Files and directories; '-' is standard input.", show_default=False),
]
Model = Annotated[
    str, typer.Option("--model", envvar="LINDOC_MODEL", metavar="NAME", help="Name or folder of a model.")
]
Device = Annotated[
    str | None,
    typer.Option("--device", envvar="LINDOC_DEVICE", metavar="cpu|cuda", help="CUDA if there, else the CPU."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", envvar="LINDOC_THREADS", min=1, metavar="N", help="CPU threads.")
]
Block = Annotated[
    int, typer.Option("--block", min=1, metavar="N", help="Windows encoded at once: speed only, same result.")
]
Index = Annotated[
    Path | None,
    typer.Option(
        "--index",
        metavar="FILE",
        help="Index file. Without it: LINDOC_INDEX, the nearest .lindoc/ upward, the user's cache.",
    ),
]
NoStore = Annotated[bool, typer.Option("--no-store", help="Keep nothing of what was read.")]
Password = Annotated[
    str | None,
    typer.Option("--password", envvar="LINDOC_PASSWORD", metavar="TEXT", help="For encrypted PDFs.", show_envvar=True),
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", metavar="NAME", help="Encoding of text files; found out by default.")
]
MaxFileSize = Annotated[
    int,
    typer.Option("--max-file-size", min=1, metavar="BYTES", help="Larger files found in a directory are skipped."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only: no warnings, hints or progress.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output; errors as JSON on stderr.")]
JsonLines = Annotated[bool, typer.Option("--jsonl", help="One JSON record a line; errors as JSON on stderr.")]

MODEL = "lindoc-small"
BLOCK = 16
MAX_FILE_SIZE = 4_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Settings:
    """The shared options as given; what they are on the command line stands here once."""

    model: Model = MODEL
    device: Device = None
    threads: Threads = None
    block: Block = BLOCK
    index: Index = None
    no_store: NoStore = False
    password: Password = None
    encoding: Encoding = None
    max_file_size: MaxFileSize = MAX_FILE_SIZE
    quiet: Quiet = False
    json_errors: bool = False  # set where the output is JSON


SHARED = tuple(field.name for field in fields(Settings) if field.name != "json_errors")
Command = Callable[..., None]


def with_settings(*names: str) -> Callable[[Command], Command]:
    """On the command line, a command's parameter `settings` is these shared options; all of them by default."""
    kept = names or SHARED

    def decorate(command: Command) -> Command:
        shared = inspect.signature(Settings, eval_str=True).parameters
        own = inspect.signature(command, eval_str=True).parameters
        given = [each for name, one in own.items() for each in (map(shared.get, kept) if name == "settings" else [one])]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in given if one is not None]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            chosen = {name: values.pop(name) for name in kept}
            as_json = bool(values.get("json") or values.get("jsonl"))
            command(**values, settings=Settings(**chosen, json_errors=as_json))

        vars(run)["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def help_without_command(ctx: typer.Context) -> None:
    """A group called without a command shows its help on stderr and ends as a usage error."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(UsageError.exit_code)

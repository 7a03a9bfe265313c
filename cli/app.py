"""The Typer app. An error becomes one line on stderr and its exit code; a closed pipe ends quietly."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from lindoc import __version__
from lindoc.cli.commands import ask, embed, forget, inspect, models, search, summarize
from lindoc.cli.console import report_error, wants_json_errors
from lindoc.cli.options import EXIT_CODES
from lindoc.core.errors import LindocError, UsageError

INTERNAL = 70
INTERRUPTED = 130


class Commands(TyperGroup):
    """Runs a command and gives every way it may end its exit code."""

    def invoke(self, ctx: Any) -> Any:
        as_json = wants_json_errors(sys.argv[1:] if not ctx.obj else ctx.obj)
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except LindocError as exc:
            report_error(exc, as_json=as_json)
            raise typer.Exit(exc.exit_code) from exc
        except BrokenPipeError as exc:
            _drop_stdout()
            raise typer.Exit(0) from exc
        except KeyboardInterrupt as exc:
            raise typer.Exit(INTERRUPTED) from exc
        except (typer.Exit, typer.Abort):
            raise
        except Exception as exc:
            if hasattr(exc, "format_message") or os.environ.get("LINDOC_DEBUG"):  # a usage error keeps its own way out
                raise
            report_error(LindocError(f"internal: {type(exc).__name__}: {exc}"), as_json=as_json)
            raise typer.Exit(INTERNAL) from exc


app = typer.Typer(
    cls=Commands,
    name="lindoc",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lindoc {__version__}")
        raise typer.Exit


@app.callback()
def lindoc(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Read documents of any length in bounded memory: vectors, answers with their place, summaries. Offline."""


app.command("embed", epilog=EXIT_CODES)(embed.embed)
app.command("ask", epilog=EXIT_CODES)(ask.ask)
app.command("search", epilog=EXIT_CODES)(search.search)
app.command("summarize", epilog=EXIT_CODES)(summarize.summarize)
app.command("inspect", epilog=EXIT_CODES)(inspect.inspect)
app.command("forget", epilog=EXIT_CODES)(forget.forget)
app.add_typer(models.app, name="models", epilog=EXIT_CODES)


def main() -> NoReturn:
    """The `lindoc` script."""
    arguments = sys.argv[1:]
    try:
        code = app(arguments, prog_name="lindoc", standalone_mode=False)
    except typer.Abort:
        code = INTERRUPTED
    except Exception as exc:
        if not hasattr(exc, "format_message"):
            raise
        report_error(UsageError(_usage(exc)), as_json=wants_json_errors(arguments))
        code = UsageError.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _usage(exc: Any) -> str:
    """What is wrong with the command line, and where its help is."""
    where = exc.ctx.command_path if getattr(exc, "ctx", None) else "lindoc"
    message = exc.format_message().rstrip(".")
    return f"{message or 'a command is missing'}; see '{where} --help'"


def _drop_stdout() -> None:
    """Whoever read standard output has gone: let the interpreter's last flush go nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stays open until the interpreter ends

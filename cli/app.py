"""The Typer app. An error becomes one line on stderr and its exit code; a closed pipe ends quietly."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from lindoc import __version__
from lindoc.cli.commands import ask, embed, forget, index, inspect, models, search, state, status, summarize
from lindoc.cli.console import report_error, wants_json_errors
from lindoc.cli.options import EXIT_CODES, help_without_command
from lindoc.core.errors import LindocError, UsageError

INTERNAL = 70
INTERRUPTED = 130


class Commands(TyperGroup):
    """Runs a command and gives every way it may end its exit code."""

    def invoke(self, ctx: Any) -> Any:
        as_json = wants_json_errors(sys.argv[1:])
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
            if _is_usage(exc) or os.environ.get("LINDOC_DEBUG"):
                raise
            report_error(LindocError(f"internal: {type(exc).__name__}: {exc}"), as_json=as_json)
            raise typer.Exit(INTERNAL) from exc


app = typer.Typer(
    cls=Commands,
    name="lindoc",
    epilog=EXIT_CODES,
    invoke_without_command=True,
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
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Read documents of any length in bounded memory, offline: vectors, answers with their place, summaries."""
    help_without_command(ctx)


app.command("embed", epilog=EXIT_CODES)(embed.embed)
app.command("ask", epilog=EXIT_CODES)(ask.ask)
app.command("search", epilog=EXIT_CODES)(search.search)
app.command("summarize", epilog=EXIT_CODES)(summarize.summarize)
app.command("index", epilog=EXIT_CODES)(index.index)
app.command("status", epilog=EXIT_CODES)(status.status)
app.command("inspect", epilog=EXIT_CODES)(inspect.inspect)
app.command("forget", epilog=EXIT_CODES)(forget.forget)
app.add_typer(state.app, name="state", epilog=EXIT_CODES)
app.add_typer(models.app, name="models", epilog=EXIT_CODES)


def main() -> NoReturn:
    """The `lindoc` script."""
    arguments = sys.argv[1:]
    try:
        code = app(arguments, prog_name="lindoc", standalone_mode=False)
    except typer.Abort:
        code = INTERRUPTED
    except Exception as exc:
        if not _is_usage(exc):
            raise
        report_error(UsageError(_usage(exc)), as_json=wants_json_errors(arguments))
        code = UsageError.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _is_usage(exc: Exception) -> bool:
    """Whether it is Typer's own complaint about the command line (its base class moved between versions)."""
    return hasattr(exc, "format_message")


def _usage(exc: Any) -> str:
    """What is wrong with the command line, and where its help is."""
    where = exc.ctx.command_path if getattr(exc, "ctx", None) else "lindoc"
    return f"{exc.format_message().rstrip('.')}; see '{where} --help'"


def _drop_stdout() -> None:
    """Whoever read standard output has gone: let the interpreter's last flush go nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stays open until the interpreter ends

"""`lindoc models`: which encoders there are, and what is known of one."""

from __future__ import annotations

from typing import Annotated

import typer

from lindoc.cli import options
from lindoc.cli.options import EXIT_CODES
from lindoc.cli.show import print_json

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def models(ctx: typer.Context) -> None:
    """List models, or show one."""
    options.help_without_command(ctx)


@app.command("list", epilog=EXIT_CODES)
def list_models(json: options.Json = False) -> None:
    """The models that --model knows by name.

    \b
    lindoc models list
    """
    from lindoc.models.registry import model_cards

    cards = model_cards()
    if json:
        print_json({"models": [dict(card) for card in cards]}, indent=2)
        return
    for card in cards:
        print(f"{card['name']:<16} {card['description']}")


@app.command("info", epilog=EXIT_CODES)
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or a folder.")] = options.MODEL,
    json: options.Json = False,
) -> None:
    """What a model is: size, hashes, licence, training data.

    \b
    lindoc models info lindoc-small
    """
    from lindoc.models.registry import model_card

    card = model_card(name)
    if json:
        print_json(card, indent=2)
        return
    for key, value in card.items():
        print(f"{key.ljust(18)} {value}")

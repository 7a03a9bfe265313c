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
    from lindoc.models.registry import MODELS

    cards = [{"name": one.name, "description": one.description, "licence": one.licence} for one in MODELS.values()]
    if json:
        print_json({"models": cards}, indent=2)
        return
    for card in cards:
        print(f"{card['name'].ljust(16)} {card['description']} ({card['licence']})")


@app.command("info", epilog=EXIT_CODES)
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or a folder.")] = options.MODEL,
    json: options.Json = False,
) -> None:
    """What a model is: sizes, licence, and the hashes of its files, verified.

    \b
    lindoc models info lindoc-small
    """
    from lindoc.models.registry import MODELS, load_encoder

    encoder = load_encoder(name, "cpu")  # verifies the hashes
    facts: dict[str, str | int] = {"name": name}
    if name in MODELS:
        card = MODELS[name]
        facts |= {"description": card.description, "licence": card.licence, "folder": str(card.folder)}
    facts |= {
        "dim": encoder.dim,
        "window": encoder.window,
        "weights_sha256": encoder.weights_sha256,
        "tokenizer_sha256": encoder.tokenizer.sha256,
    }
    if json:
        print_json(facts, indent=2)
        return
    for key, value in facts.items():
        print(f"{key.ljust(18)} {value}")

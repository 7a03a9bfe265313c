"""Help, version and start-up."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lindoc import __version__
from lindoc.cli.app import app

README = Path(__file__).parents[2] / "README.md"


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


NAMES = sorted(commands())


def test_the_commands_are_those_that_scripts_rely_on() -> None:
    assert NAMES == ["ask", "embed", "forget", "index", "inspect", "models", "search", "state", "status", "summarize"]


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_an_example_and_the_exit_codes(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Exit codes:" in result.stdout and "130  interrupted" in result.stdout
    if name not in ("models", "state"):
        assert f"lindoc {name} " in result.stdout.split("Options:")[0].split("\n", 1)[1]


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_help_text(name: str) -> None:
    for param in commands()[name].params:
        if param.param_type_name == "option" and param.name != "help":
            assert getattr(param, "help", None), f"{name}: {param.opts}"


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_the_command(name: str) -> None:
    assert re.search(rf"`(lindoc )?{name}\b", README.read_text("utf-8"))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ask", "--help"], ["ask"], ["models"]])
def test_starting_up_loads_neither_torch_nor_numpy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['lindoc', *{arguments!r}]\n"
        "from lindoc.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'triton', 'rich.progress'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, stdin=subprocess.DEVNULL, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_the_version_is_the_package_s() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"lindoc {__version__}\n")


def test_without_a_command_the_help_goes_to_stderr() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert result.stdout == "" and "Commands:" in result.stderr

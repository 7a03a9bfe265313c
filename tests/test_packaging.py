"""The package list in pyproject.toml is the tree, and `import lindoc` is light."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import lindoc

ROOT = Path(__file__).parents[1]
FOLDERS = {"lindoc": "lindoc", "cli": "lindoc.cli", "core": "lindoc.core", "kernels": "lindoc.kernels"}
FOLDERS["models"] = "lindoc.models"


def listed_packages() -> set[str]:
    block = re.search(r"^packages = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text("utf-8"), re.M | re.S)
    assert block
    return set(re.findall(r'"([\w.]+)"', block[1]))


def packages_of_the_tree() -> set[str]:
    found = set()
    for folder, package in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([package, *init.parent.relative_to(ROOT / folder).parts]))
    return found


def test_every_package_of_the_tree_is_listed() -> None:
    assert listed_packages() == packages_of_the_tree()


def test_every_module_lies_in_a_package() -> None:
    strays = [
        str(module.relative_to(ROOT))
        for folder in FOLDERS
        for module in (ROOT / folder).rglob("*.py")
        if not (module.parent / "__init__.py").exists()
    ]
    assert strays == []


def test_the_weights_are_found_where_the_wheel_puts_them() -> None:
    folder = ROOT / "models" / "lindoc_small"
    assert list(folder.glob("*.safetensors"))
    for name in ("config.json", "tokenizer.json", "MODEL_CARD.md"):
        assert (folder / name).is_file(), name


def test_the_changelog_knows_the_version() -> None:
    assert f"## [{lindoc.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_importing_lindoc_loads_no_torch(tmp_path: Path) -> None:
    code = "import lindoc, sys; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_unknown_names_of_the_package_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        getattr(lindoc, "nothing_of_the_kind")  # noqa: B009 - a static checker would see through the plain form

"""Texts about the code of sympy: python_docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from examples.data.rows import Row, Splits, likeness, share
from examples.data.sources import Source, Tree

SYMPY = Source("sympy/sympy", "e950d313a932bc6cccbc95376b3821cd2f8b5af4", ("/sympy/**/*.py",))
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def python_docstrings(tree: Tree) -> Splits:
    splits: dict[str, list[Row]] = {"train": [], "dev": []}
    seen: set[tuple[str, str]] = set()
    for name, content in tree.read(n for n in tree.names("sympy/", ".py") if "/tests/" not in n):
        text = content.decode()
        for row in _definitions(name, text.splitlines(), ast.parse(text), ""):
            if (key := likeness(row["query"], row["positive"])) not in seen:
                seen.add(key)
                splits["train" if share("doc", name) < 0.92 else "dev"].append(row)
    return splits


def _definitions(path: str, lines: list[str], node: ast.AST, prefix: str) -> Iterator[Row]:
    """Functions and classes in the order they are written, without those inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            row = _row(path, lines, child, prefix)
            if len(row["query"]) >= 20 and len(row["query"].split()) >= 4 and len(row["positive"]) >= 80:
                yield row
            if isinstance(child, ast.ClassDef):
                yield from _definitions(path, lines, child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.stmt):  # under a condition; not in an exception's handler
            yield from _definitions(path, lines, child, prefix)


def _row(path: str, lines: list[str], node: Definition, prefix: str) -> Row:
    """First paragraph of the docstring -> the definition without its docstring."""
    docstring = ast.get_docstring(node) or ""
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
    body = node.body[0]
    kept = lines[first : body.lineno - 1] + lines[body.end_lineno : node.end_lineno]
    indent = len(lines[first]) - len(lines[first].lstrip())
    code = "\n".join(line if line[:indent].strip() else line[indent:] for line in kept)
    return {
        "id": f"{path}::{prefix}{node.name}",
        "query": " ".join(docstring.split("\n\n")[0].split()),
        "positive": code[:8000],
        "docstring": docstring[:6000],
        "kind": "class" if isinstance(node, ast.ClassDef) else "function",
        "path": path,
    }

"""The code of sympy: what its definitions say they do (python_docstrings), what its changes touch (repo_changes)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from examples.data.rows import Row, Splits, likeness, share
from examples.data.sources import Source, Tree

SYMPY = Source("sympy/sympy", "e950d313a932bc6cccbc95376b3821cd2f8b5af4", ("/sympy/**/*.py",))
HISTORY = Source(SYMPY.repo, SYMPY.commit, SYMPY.paths, history=True)
MERGE = re.compile(r"Merge pull request #(\d+) from \S+\n\n(.*)", re.DOTALL)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def python_docstrings(tree: Tree) -> Splits:
    splits: dict[str, list[Row]] = {"train": [], "dev": []}
    seen: set[tuple[str, str]] = set()
    for name, content in tree.read(filter(_is_code, tree.names())):
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


def repo_changes(tree: Tree) -> Splits:
    """Titles of merged pull requests -> the files they change, oldest first; and the files there are to be found."""
    rows = sorted(_merges(tree), key=lambda row: row["date"])
    train, dev = int(0.85 * len(rows)), int(0.92 * len(rows))
    files = tree.read(filter(_is_code, tree.names()))
    corpus = ({"id": name, "title": name, "text": content.decode()} for name, content in files)
    return {"train": rows[:train], "dev": rows[train:dev], "corpus_sympy_head": corpus}


def _merges(tree: Tree) -> Iterator[Row]:
    """Merges into the main line that change one to six files of code, under titles of three words or more."""
    form = "--format=%x1e%H%x1f%P%x1f%cI%x1f%B%x1f"
    log = tree.git("log", "--reverse", "--first-parent", "-m", "--name-status", "--no-renames", "-z", form, tree.commit)
    for entry in log.decode(errors="replace").split("\x1e")[1:]:
        commit, parents, date, message, changes = entry.split("\x1f", 4)
        names = changes.strip("\0\n").split("\0")  # status, path, status, path …
        files = list(zip(names[::2], names[1::2], strict=True)) if changes.strip("\0\n") else []
        code = [name for status, name in files if status in ("M", "D") and _is_code(name)]
        merge = MERGE.match(message)
        title = merge[2].split("\n\n")[0].strip() if merge else ""
        if merge and 1 <= len(code) <= 6 and len(title) >= 10 and len(title.split()) >= 3:
            yield {
                "id": f"sympy#{merge[1]}",
                "repo": "sympy/sympy",
                "commit": commit,
                "parent": parents.split()[0],
                "date": date,
                "query": title,
                "files": code,
                "tests": [name for _, name in files if "/tests/" in name],
            }


def _is_code(name: str) -> bool:
    return name.startswith("sympy/") and name.endswith(".py") and "/tests/" not in name

"""A directory to its readable files: ignore rules, binaries, generated and oversized files left out and counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

from lindoc.core.errors import DocumentError
from lindoc.core.formats.sniff import HEAD, is_binary, is_generated, is_pdf
from lindoc.core.formats.sources import Source, why

IGNORE_FILES = (".gitignore", ".lindocignore")  # the later wins
NEVER = {".git", ".hg", ".svn", ".lindoc"}
LONG_FORM = {".pdf", ".txt", ".md", ".markdown", ".log", ".rst"}  # written to be long: no size limit outside --repo

Rules = list[tuple[str, GitIgnoreSpec]]  # (directory, its rules), outermost first


def walk(
    root: Path, given: str, *, repo: bool, max_file_size: int, skipped: Counter[str]
) -> Iterator[Source | DocumentError]:
    """Files of `root` in name order, read by content; names are relative to it under `repo`, else below `given`.

    Symbolic links below the root are not followed: they may loop or lead out of the tree.
    """
    here: Counter[str] = Counter()
    found = 0
    for entry in _files(os.path.abspath(root), _outer_rules(os.path.abspath(root)), here):
        path = entry if isinstance(entry, str) else entry.path
        relative = os.path.relpath(path, os.path.abspath(root))
        name = relative if repo and relative != "." else os.path.normpath(os.path.join(given, relative))
        if isinstance(entry, DocumentError):
            found += 1
            yield DocumentError(name, entry.reason)
            continue
        try:
            reason = _unwanted(path, max_file_size, repo)
        except OSError as exc:
            found += 1
            yield DocumentError(name, why(exc))
            continue
        if reason:
            here[reason] += 1
            continue
        found += 1
        yield Source(name, Path(path))
    skipped.update(here)
    if not found:
        left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(here.items()))
        yield DocumentError(given, f"no readable file in this directory ({left_out or 'it is empty'})")


def _files(directory: str, rules: Rules, skipped: Counter[str]) -> Iterator[str | DocumentError]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError as exc:
        yield DocumentError(directory, why(exc))
        return
    rules = rules + _rules_of(directory)
    for entry in entries:
        if entry.name in NEVER:
            continue
        if entry.is_symlink():
            skipped["symbolic link"] += 1
        elif entry.is_dir(follow_symlinks=False):
            if _ignored(entry.path, rules, is_directory=True):
                skipped["ignored"] += 1
            else:
                yield from _files(entry.path, rules, skipped)
        elif _ignored(entry.path, rules, is_directory=False):
            skipped["ignored"] += 1
        elif entry.is_file(follow_symlinks=False):
            yield entry.path
        else:
            skipped["special file"] += 1


def _ignored(path: str, rules: Rules, *, is_directory: bool) -> bool:
    """The innermost rule file that says anything about the path decides, as in git."""
    for directory, spec in reversed(rules):
        relative = os.path.relpath(path, directory).replace(os.sep, "/")
        verdict = spec.check_file(relative + "/" if is_directory else relative).include
        if verdict is not None:
            return verdict
    return False


def _rules_of(directory: str) -> Rules:
    rules: Rules = []
    for name in IGNORE_FILES:
        try:
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as handle:
                rules.append((directory, GitIgnoreSpec.from_lines(handle)))
        except (OSError, ValueError):  # no such file, or a pattern nobody can read
            continue
    return rules


def _outer_rules(directory: str) -> Rules:
    """Ignore rules above `directory`, up to the root of the git repository it lies in."""
    if os.path.exists(os.path.join(directory, ".git")):
        return []
    above = [str(parent) for parent in Path(directory).parents]
    for depth, parent in enumerate(above):
        if os.path.exists(os.path.join(parent, ".git")):
            return [rule for outer in reversed(above[: depth + 1]) for rule in _rules_of(outer)]
    return []


def _unwanted(path: str, max_file_size: int, repo: bool) -> str | None:
    """Why a file found by walking is not read, or None."""
    suffix = os.path.splitext(path)[1].lower()
    size = os.stat(path).st_size
    if size == 0:
        return "empty"
    if os.path.basename(path) in IGNORE_FILES:
        return "ignore rules"
    with open(path, "rb") as handle:
        head = handle.read(HEAD)
    if is_pdf(head):
        return None
    if is_binary(head):
        return "binary"
    if is_generated(os.path.basename(path), head):
        return "generated"
    if size > max_file_size and (repo or suffix not in LONG_FORM):
        return "oversized"
    return None

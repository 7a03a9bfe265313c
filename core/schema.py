"""The tables of the store, the errors of SQLite in the user's words, and where the store lies."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from lindoc.core.errors import StoreError

if TYPE_CHECKING:
    from lindoc.models.encoder import Encoder

FORMAT_VERSION = 3
STORE_NAME = "index.sqlite"
INDEX_FOLDER = ".lindoc"
SCHEMA = (
    """CREATE TABLE header (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE contents (
       id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, size INTEGER NOT NULL, reader TEXT NOT NULL, kind TEXT NOT NULL,
       complete INTEGER NOT NULL DEFAULT 0, segments INTEGER NOT NULL DEFAULT 0, length INTEGER NOT NULL DEFAULT 0,
       tokens INTEGER NOT NULL DEFAULT 0, unknown INTEGER NOT NULL DEFAULT 0, warnings TEXT NOT NULL DEFAULT '[]',
       vector BLOB, used REAL NOT NULL DEFAULT 0, UNIQUE (sha256, reader))""",
    """CREATE TABLE paths (
       path TEXT PRIMARY KEY, content INTEGER REFERENCES contents (id), modified INTEGER NOT NULL DEFAULT 0,
       failure TEXT) WITHOUT ROWID""",
    """CREATE TABLE roots (path TEXT PRIMARY KEY) WITHOUT ROWID""",
    """CREATE INDEX paths_content ON paths (content)""",
    """CREATE TABLE segments (
       id INTEGER PRIMARY KEY, content INTEGER NOT NULL REFERENCES contents (id), idx INTEGER NOT NULL,
       start INTEGER NOT NULL, tokens INTEGER NOT NULL, unknown INTEGER NOT NULL, text TEXT NOT NULL,
       identifiers TEXT NOT NULL,
       marks TEXT NOT NULL, encoding BLOB NOT NULL, vector BLOB NOT NULL, sentences BLOB NOT NULL,
       UNIQUE (content, idx))""",
    """CREATE TABLE states (
       content INTEGER NOT NULL REFERENCES contents (id) ON DELETE CASCADE, segments INTEGER NOT NULL,
       start INTEGER NOT NULL, settle INTEGER NOT NULL, digest BLOB NOT NULL, kept INTEGER NOT NULL DEFAULT 0,
       state BLOB NOT NULL, PRIMARY KEY (content, segments))""",
    """CREATE VIRTUAL TABLE words USING fts5(text, identifiers, content='segments', content_rowid='id',
       tokenize="porter unicode61 remove_diacritics 2")""",
    """CREATE TRIGGER segment_added AFTER INSERT ON segments BEGIN
       INSERT INTO words (rowid, text, identifiers) VALUES (new.id, new.text, new.identifiers); END;""",
    """CREATE TRIGGER segment_removed AFTER DELETE ON segments BEGIN
       INSERT INTO words (words, rowid, text, identifiers)
       VALUES ('delete', old.id, old.text, old.identifiers); END;""",
)
IDENTIFIER = re.compile(r"\b(?=\w*[a-z0-9][A-Z]|\w*[A-Z]{2}[a-z]|\w*[a-zA-Z0-9]_)\w+")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def identifier_parts(text: str) -> list[str]:
    """Words inside the camelCase and snake_case names of a text, lower case: "getUserName" -> get user name."""
    return [part.lower() for name in IDENTIFIER.findall(text) for part in PART.findall(name)]


def header_of(encoder: Encoder) -> dict[str, str]:
    """What a store was written by; vectors of another model cannot be compared with these."""
    return {
        "format": str(FORMAT_VERSION),
        "model": encoder.name,
        "weights": encoder.weights_sha256,
        "tokenizer": encoder.tokenizer.sha256,
    }


def check_header(path: str, found: dict[str, str], wanted: dict[str, str]) -> None:
    for key, value in wanted.items():
        if found.get(key) != value:
            is_name = key in ("format", "model")
            detail = (
                f"{key} {found.get(key)!r}, not {value!r}" if is_name else f"other {key} of model {wanted['model']!r}"
            )
            raise StoreError(f"{path}: was written with {detail}; delete it or choose another with --index")


def cache_folder() -> Path:
    """Where stores lie that nobody chose a place for; they are bounded."""
    return platformdirs.user_cache_path("lindoc", appauthor=False)


def default_store_path(encoder: Encoder | None = None) -> Path:
    """LINDOC_INDEX, else the nearest .lindoc/ upward, else the user's cache (there one file for each model)."""
    given = os.environ.get("LINDOC_INDEX")
    if given:
        path = Path(given).expanduser()
        return path / STORE_NAME if path.is_dir() else path
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / INDEX_FOLDER).is_dir():
            return folder / INDEX_FOLDER / STORE_NAME
    name = STORE_NAME
    if encoder is not None:
        mark = hashlib.sha256(repr(sorted(header_of(encoder).items())).encode()).hexdigest()[:12]
        name = f"index-{mark}.sqlite"
    return cache_folder() / name


def index_path() -> Path:
    """Where `lindoc index` writes: the default store, but a .lindoc/ in this folder rather than the user's cache."""
    path = default_store_path()
    return path if path.parent != cache_folder() else Path.cwd() / INDEX_FOLDER / STORE_NAME


def make_index_folder(index: Path) -> None:
    """The .lindoc/ that an index is to lie in, which git does not look into."""
    folder = index.parent
    if folder.name == INDEX_FOLDER and not folder.exists():
        with translated(str(folder)):
            folder.mkdir(mode=0o700)
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")


def latest_store_path() -> Path:
    """The default store, whatever the model: of those in the user's cache the one used last."""
    path = default_store_path()
    cached = list(cache_folder().glob("index*.sqlite")) if path.parent == cache_folder() else []
    return max(cached, key=lambda one: one.stat().st_mtime, default=path)


def store_files() -> list[Path]:
    """Every store that may hold a text read from here: the default one and all of the user's cache."""
    candidates = (default_store_path(), *cache_folder().glob("index*.sqlite"))
    found = {path for path in candidates if path.exists()}
    return sorted(found)


def make_private(path: Path) -> None:
    """The file with mode 0600 from its first moment; its WAL takes the same mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


@contextmanager
def translated(path: str) -> Iterator[None]:
    """SQLite's errors as StoreErrors: the file, the reason, the choices."""
    try:
        yield
    except sqlite3.Error as exc:
        raise StoreError(f"{path}: {_reason(exc)}") from exc
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise StoreError(
            f"{path}: {reason[:1].lower()}{reason[1:]}; choose another with --index or --no-store"
        ) from exc


def _reason(exc: sqlite3.Error) -> str:
    said = str(exc)
    if isinstance(exc, sqlite3.IntegrityError):
        return "another lindoc is reading the same document into it; wait for it, or use --no-store"
    if "locked" in said or "busy" in said:
        return "is in use by another program; wait for it, or use --no-store"
    if "readonly" in said or "unable to open" in said:
        return "cannot be opened for writing; choose another with --index or --no-store"
    if "full" in said or "disk I/O" in said or "too big" in said:
        return f"cannot be written ({said}); make room, or use --no-store"
    if "not a database" in said or "malformed" in said or "no such table" in said or "corrupt" in said:
        return f"is damaged or not an index ({said}); delete it, or choose another with --index"
    return said

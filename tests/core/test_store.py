"""The store: private, forgetful, resumable after a kill, and never wrong about what wrote it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lindoc.core.errors import StoreError
from lindoc.core.formats import Source
from lindoc.core.pipeline import Library
from lindoc.core.schema import identifier_parts
from lindoc.core.store import Store, default_store_path

TESTS = Path(__file__).resolve().parents[1]
WORDS = "river stone lantern copper winter signal marble orchard velvet harbor"
LINES = [f"Line {i} tells of {' and '.join(WORDS.split()[i % 7 : i % 7 + 4])} once more. " for i in range(160)]


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own, which has `TinyEncoder`, `Library`, `Store`, `Source` and `Path`."""
    header = f"""
        import sys; sys.path.insert(0, {str(TESTS)!r})
        from pathlib import Path
        from tiny import TinyEncoder
        from lindoc.core.errors import StoreError
        from lindoc.core.formats import Source
        from lindoc.core.pipeline import Library
        from lindoc.core.store import Store
    """
    code = textwrap.dedent(header) + textwrap.dedent(script)
    command = [sys.executable, "-c", code, *map(str, arguments)]  # not from the checkout: its lindoc/ has no core
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=TESTS)


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "long.txt"
    path.write_text("\n".join(LINES))
    return path


def read_all(path: Path, file: Path, encoder: Any, block: int = 4) -> np.ndarray[Any, Any]:
    with Store.open(path, encoder=encoder) as store:
        library = Library(encoder, store, block=block)
        assert library.read([Source(file.name, file)]) == 1
        assert library.search("copper lantern", 3)
        vectors = library.index().vectors
        (key,) = {int(key) for key in library.index().contents}
        whole = store.document_vector(key)
    return np.concatenate([vectors, whole[None]])


def test_killed_anywhere_it_resumes_and_nothing_differs(tmp_path: Path, text_file: Path, make_encoder: Any) -> None:
    killed = run(
        """
        import os, signal
        encoder = TinyEncoder()
        encode = encoder.encode
        def dying(windows, documents, states):
            if encoder.windows_encoded >= 20:
                os.kill(os.getpid(), signal.SIGKILL)
            return encode(windows, documents, states)
        encoder.encode = dying
        store = Store.open(Path(sys.argv[1]), encoder=encoder)
        Library(encoder, store, block=4).read([Source("long.txt", Path(sys.argv[2]))])
        """,
        tmp_path / "killed.sqlite",
        text_file,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed, whole = make_encoder(), make_encoder()
    again = read_all(tmp_path / "killed.sqlite", text_file, resumed, block=7)
    once = read_all(tmp_path / "once.sqlite", text_file, whole)
    np.testing.assert_allclose(again, once, atol=1e-5)
    assert resumed.windows_encoded == whole.windows_encoded - 20


def test_the_file_is_private(tmp_path: Path, text_file: Path, tiny_encoder: Any) -> None:
    path = tmp_path / "sub" / "index.sqlite"
    with Store.open(path, encoder=tiny_encoder) as store:
        Library(tiny_encoder, store).read([Source("long.txt", text_file)])
        modes = {entry.name: entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()}
    assert set(modes.values()) == {0o600} and f"{path.name}-wal" in modes


def test_forget_leaves_no_trace(tmp_path: Path, text_file: Path, tiny_encoder: Any) -> None:
    path, other = tmp_path / "index.sqlite", tmp_path / "other.txt"
    other.write_text("The zebra keeps its stripes.")
    text_file.write_text(text_file.read_text() + " Xylographic quokkas.")
    with Store.open(path, encoder=tiny_encoder) as store:
        library = Library(tiny_encoder, store)
        library.read([Source("long.txt", text_file), Source("other.txt", other)])
    assert b"Xylographic" in path.read_bytes()
    with Store.open(path) as store:
        assert store.forget(text_file) == 1
        assert store.forget(text_file) == 0
        held = b"".join(entry.read_bytes() for entry in tmp_path.glob("index.sqlite*"))
        assert b"ylographic" not in held and b"xylograph" not in held and b"lantern" not in held
        assert b"zebra" in held
        assert store.forget(tmp_path) == 1


def test_a_copy_keeps_the_text_until_both_are_forgotten(tmp_path: Path, text_file: Path, tiny_encoder: Any) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_bytes(text_file.read_bytes())
    path = tmp_path / "index.sqlite"
    with Store.open(path, encoder=tiny_encoder) as store:
        library = Library(tiny_encoder, store)
        library.read([Source("long.txt", text_file)])
        library.read([Source("copy.txt", copy)])
        store.forget(text_file)
        assert b"lantern" in path.read_bytes()
        store.forget(copy)
    assert b"lantern" not in path.read_bytes()


def test_the_cache_gives_up_its_oldest(tmp_path: Path, tiny_encoder: Any) -> None:
    files = [tmp_path / f"{at}.txt" for at in range(3)]
    for at, file in enumerate(files):
        file.write_text(f"Document {at}. " + " ".join(LINES))
    with Store.open(tmp_path / "index.sqlite", encoder=tiny_encoder) as store:
        for file in files:
            Library(tiny_encoder, store).read([Source(file.name, file)])
        size = store.size()
        assert store.trim(size) == 0
        assert store.trim(size - 1) == 1
        assert [store.forget(file) for file in files] == [0, 1, 1]


def test_only_the_cache_is_bounded(
    tmp_path: Path, text_file: Path, tiny_encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LINDOC_INDEX", raising=False)
    monkeypatch.setattr("lindoc.core.database.CACHE_LIMIT", 50_000)
    monkeypatch.chdir(tmp_path)
    for path, kept in ((tmp_path / "mine.sqlite", 1), (default_store_path(tiny_encoder), 0)):
        read_all(path, text_file, tiny_encoder)
        with Store.open(path, encoder=tiny_encoder) as store:
            assert store.forget(text_file) == kept


@pytest.mark.parametrize("other", [{"seed": 1}, {"name": "another"}])
def test_another_model_is_refused(other: dict[str, Any], tmp_path: Path, make_encoder: Any) -> None:
    path = tmp_path / "index.sqlite"
    Store.open(path, encoder=make_encoder()).close()
    with pytest.raises(StoreError, match=r"index\.sqlite: was written with .*--index"):
        Store.open(path, encoder=make_encoder(**other))


def test_another_format_is_refused(tmp_path: Path, tiny_encoder: Any) -> None:
    path = tmp_path / "index.sqlite"
    Store.open(path, encoder=tiny_encoder).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE header SET value = '0' WHERE key = 'format'")
    connection.close()
    with pytest.raises(StoreError, match="format '0'"):
        Store.open(path, encoder=tiny_encoder)


@pytest.mark.parametrize("damage", [b"this is no database at all" * 400, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_file_is_one_line(damage: bytes, tmp_path: Path, tiny_encoder: Any) -> None:
    path = tmp_path / "index.sqlite"
    path.write_bytes(damage)
    with pytest.raises(StoreError, match=r"index\.sqlite: is damaged") as caught:
        Store.open(path, encoder=tiny_encoder)
    assert "\n" not in str(caught.value)


def test_a_page_damaged_later_is_an_error(tmp_path: Path, text_file: Path, tiny_encoder: Any) -> None:
    path = tmp_path / "index.sqlite"
    read_all(path, text_file, tiny_encoder)
    data = bytearray(path.read_bytes())
    data[4096 * 4 :] = b"\xa5" * (len(data) - 4096 * 4)
    path.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        read_all(path, text_file, tiny_encoder)


def test_a_locked_file_is_one_line(
    tmp_path: Path, text_file: Path, tiny_encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index.sqlite"
    monkeypatch.setattr("lindoc.core.database.WAIT", 0.05)
    with Store.open(path, encoder=tiny_encoder) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="in use by another program"):
            Library(tiny_encoder, store).read([Source("long.txt", text_file)])
        other.close()


def test_a_folder_without_permission_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    result = run(
        """
        import os
        encoder = TinyEncoder()
        if os.getuid() == 0:
            os.setuid(65534)
        os.chdir("/")
        try:
            Store.open(Path(sys.argv[1]), encoder=encoder)
        except StoreError as error:
            print(error)
        """,
        "/usr/lindoc-test/index.sqlite",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("/usr/lindoc-test/index.sqlite: ") and result.stdout.count("\n") == 1
    assert "--index" in result.stdout


def test_a_full_disk_is_one_line_and_the_file_survives(tmp_path: Path, text_file: Path, tiny_encoder: Any) -> None:
    path = tmp_path / "index.sqlite"
    result = run(
        """
        import resource
        encoder = TinyEncoder()
        store = Store.open(Path(sys.argv[1]), encoder=encoder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            Library(encoder, store, block=4).read([Source("long.txt", Path(sys.argv[2]))])
        except StoreError as error:
            print(error)
        """,
        path,
        text_file,
    )
    assert result.returncode == 0, result.stderr
    assert "cannot be written" in result.stdout and result.stdout.count("\n") == 1
    assert len(read_all(path, text_file, tiny_encoder)) > 10


def test_where_the_store_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_encoder: Any) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LINDOC_INDEX", raising=False)
    cached = default_store_path(make_encoder())
    assert cached.parent == tmp_path / "cache" / "lindoc"
    assert cached != default_store_path(make_encoder(seed=1))
    (tmp_path / ".lindoc").mkdir()
    assert default_store_path(make_encoder()) == tmp_path / ".lindoc" / "index.sqlite"
    monkeypatch.setenv("LINDOC_INDEX", str(tmp_path / "mine.sqlite"))
    assert default_store_path(make_encoder()) == tmp_path / "mine.sqlite"


def test_a_temporary_store_has_no_file(tmp_path: Path, text_file: Path, tiny_encoder: Any) -> None:
    before = set(os.listdir(tmp_path))
    with Store.open(None, encoder=tiny_encoder) as store:
        assert Library(tiny_encoder, store).read([Source("long.txt", text_file)]) == 1
    assert set(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("getUserName", "get user name"),
        ("HTTPServer2 max_file_size", "http server 2 max file size"),
        ("plain words, Capital Words", ""),
    ],
)
def test_identifier_parts(text: str, parts: str) -> None:
    assert identifier_parts(text) == parts.split()

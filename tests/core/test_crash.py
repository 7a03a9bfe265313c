"""Killed, crowded out, out of room, locked out: one clear line, and nothing that was kept is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from lindoc.core.errors import StoreError
from lindoc.core.formats import find_sources
from lindoc.core.pipeline import Library
from lindoc.core.store import Store

TESTS = Path(__file__).resolve().parents[1]
HEADER = f"""
    import os, random, signal, sys, time; sys.path.insert(0, {str(TESTS)!r})
    from pathlib import Path
    from tiny import TinyEncoder
    import lindoc.core.database as database
    from lindoc.core.errors import LindocError
    from lindoc.core.formats import find_sources
    from lindoc.core.pipeline import Library
    from lindoc.core.store import Store
    folder, docs = Path(sys.argv[1]), sys.argv[2]
    index, encoder, encode = folder / "index.sqlite", TinyEncoder(dim=64), TinyEncoder.encode

    def update(index=index):
        with Store.open(index, encoder=encoder) as store:
            errors = []
            updated = Library(encoder, store, block=3, on_error=errors.append).update(find_sources([docs]), [docs])
            for error in errors:
                print(error.exit_code, error)
            return updated

    def child(work):
        "The id of a process that does it; torch was imported once, before."
        if (pid := os.fork()) == 0:
            try:
                work()
            except LindocError as error:
                print(error.exit_code, error, flush=True)
                os._exit(error.exit_code)
            sys.stdout.flush()
            os._exit(0)
        return pid

    def ended(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def run(script: str, folder: Path, docs: Path) -> list[str]:
    """The lines that a script in a process of its own prints, which has `update()` and `child()`."""
    code = textwrap.dedent(HEADER) + textwrap.dedent(script)
    process = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(docs)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=TESTS,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def update(index: Path, docs: Path, encoder: Any) -> int:
    with Store.open(index, encoder=encoder) as store:
        updated = Library(encoder, store, block=3).update(find_sources([str(docs)]), [str(docs)])
    assert updated.failed == 0
    windows: int = encoder.windows_encoded
    return windows


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in range(8):
        lines = [f"Line {at} of {name} tells of a river, a stone and a lantern in the winter.\n\n" for at in range(60)]
        (folder / f"{name}.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def undisturbed(tmp_path: Path, docs: Path, make_encoder: Any, dump: Any) -> list[Any]:
    update(tmp_path / "once.sqlite", docs, make_encoder(dim=64))
    found: list[Any] = dump(tmp_path / "once.sqlite")
    return found


def test_killed_at_ten_moments_it_ends_as_if_undisturbed(
    tmp_path: Path, docs: Path, make_encoder: Any, undisturbed: list[Any], dump: Any
) -> None:
    """Each run is killed a random time after it has begun, and the next one goes on."""
    killed = run(
        """
        def slowly(*arguments):
            time.sleep(0.004)
            return encode(encoder, *arguments)
        encoder.encode, moments = slowly, random.Random(7)
        for _ in range(10):
            pid = child(update)
            time.sleep(moments.uniform(0, 0.25))
            os.kill(pid, signal.SIGKILL)
            print(ended(pid))
        """,
        tmp_path,
        docs,
    )
    assert len(killed) == 10 and killed.count("-9") >= 5
    with Store.open(tmp_path / "index.sqlite") as store:  # whatever is there can be listed and is whole
        assert {one.standing()[0] for one in store.listed()} <= {"done", "pending"}
    update(tmp_path / "index.sqlite", docs, make_encoder(dim=64))
    assert dump(tmp_path / "index.sqlite") == undisturbed


def test_what_was_committed_is_not_encoded_again(
    tmp_path: Path, docs: Path, make_encoder: Any, undisturbed: list[Any], dump: Any
) -> None:
    killed = run(
        """
        def dying(*arguments):
            if encoder.windows_encoded >= last:
                os.kill(os.getpid(), signal.SIGKILL)
            return encode(encoder, *arguments)
        encoder.encode = dying
        for last in (1, 20, 200):
            print(ended(child(lambda: update(folder / f"{last}.sqlite"))))
        """,
        tmp_path,
        docs,
    )
    assert killed == ["-9"] * 3
    whole = sum(len(rows) for rows in undisturbed[1::2])
    for windows in (1, 20, 200):
        index = tmp_path / f"{windows}.sqlite"
        assert abs(update(index, docs, make_encoder(dim=64)) - (whole - windows)) <= 3
        assert dump(index) == undisturbed


def test_a_second_writer_waits_a_little_and_is_told_who_the_first_is(tmp_path: Path, docs: Path) -> None:
    first, said, code, after = run(
        """
        def holding():
            store = Store.open(index, encoder=encoder)
            store.hold()
            time.sleep(60)
        first = child(holding)
        while not Path(f"{index}-lock").exists() or not Path(f"{index}-lock").stat().st_size:
            time.sleep(0.01)
        print(first, flush=True)
        database.WAIT = 0.2
        print(ended(child(update)))
        os.kill(first, signal.SIGKILL)
        ended(first)
        print(ended(child(update)))  # the lock went with its holder
        """,
        tmp_path,
        docs,
    )
    index = tmp_path / "index.sqlite"
    assert said.startswith(f"5 {index}: process {first} is reading documents into it; wait for it")
    assert (code, after) == ("5", "0")


def test_two_writers_at_once_both_end_well(tmp_path: Path, docs: Path, undisturbed: list[Any], dump: Any) -> None:
    script = "database.WAIT = 60\nfor pid in [child(update), child(update)]:\n    print(ended(pid))"
    assert run(script, tmp_path, docs) == ["0", "0"]
    assert dump(tmp_path / "index.sqlite") == undisturbed


def test_a_full_disk_is_one_line_and_the_rest_is_read_later(
    tmp_path: Path, docs: Path, make_encoder: Any, undisturbed: list[Any], dump: Any
) -> None:
    said, code = run(
        """
        import resource
        Store.open(index, encoder=encoder).close()
        def crowded():
            resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))
            update()
        print(ended(child(crowded)))
        """,
        tmp_path,
        docs,
    )
    index = tmp_path / "index.sqlite"
    assert code == "5" and said.startswith(f"5 {index}: cannot be written (")
    assert 0 < update(index, docs, make_encoder(dim=64)) < sum(len(rows) for rows in undisturbed[1::2])
    assert dump(index) == undisturbed


def test_without_permission_or_with_another_file_there(tmp_path: Path, docs: Path) -> None:
    """As another user, for root may do anything."""
    for path in (tmp_path, docs, *docs.iterdir()):
        path.chmod(0o777 if path.is_dir() else 0o666)
    lines = run(
        """
        for parent in [folder, *folder.parents]:
            if parent.stat().st_uid == os.getuid() and str(parent).count(os.sep) > 1:
                parent.chmod(parent.stat().st_mode | 0o055)
        def as_nobody(work):
            if os.getuid() == 0:
                os.setuid(65534)
            print(work().read)
        def other():
            index.write_bytes(b"no index at all " * 999)
            return update()
        print(ended(child(lambda: as_nobody(other))))
        os.chmod(index, 0)
        os.chown(index, 0, 0) if os.getuid() == 0 else None
        print(ended(child(lambda: as_nobody(update))))
        os.mkdir(folder / "shut")
        os.chmod(folder / "shut", 0o555)
        print(ended(child(lambda: as_nobody(lambda: update(folder / "shut" / "index.sqlite")))))
        os.chmod(docs + "/0.txt", 0)
        os.chown(docs + "/0.txt", 0, 0) if os.getuid() == 0 else None
        print(ended(child(lambda: as_nobody(lambda: update(folder / "new.sqlite")))))
        """,
        tmp_path,
        docs,
    )
    index = tmp_path / "index.sqlite"
    damaged, five, locked, again, shut, once_more, unreadable, read, ok = lines
    assert damaged.startswith(f"5 {index}: is damaged or not an index")
    assert locked.startswith(f"5 {index}: permission denied") and "--index" in locked
    assert shut.startswith(f"5 {tmp_path / 'shut' / 'index.sqlite'}: permission denied") and "--no-store" in shut
    assert (five, again, once_more) == ("5", "5", "5")
    assert unreadable.startswith(f"3 {docs / '0.txt'}: no permission to read it") and (read, ok) == ("7", "0")


@pytest.mark.parametrize("where", [0.1, 0.3, 0.6, 0.9])
def test_a_file_damaged_anywhere_is_said_to_be(where: float, tmp_path: Path, docs: Path, make_encoder: Any) -> None:
    index, encoder = tmp_path / "index.sqlite", make_encoder(dim=64)
    update(index, docs, encoder)
    data = bytearray(index.read_bytes())
    at = int(where * len(data)) // 4096 * 4096
    data[at : at + 4096 * 8] = b"\xa5" * len(data[at : at + 4096 * 8])
    index.write_bytes(data)
    for path in docs.iterdir():
        path.write_text("now another text\n")
    with pytest.raises(StoreError, match=r"index\.sqlite: is damaged") as caught:
        update(index, docs, encoder)
        with Store.open(index, encoder=encoder) as store:
            library = Library(encoder, store)
            library.open_index()
            library.search("river stone lantern")
    assert "\n" not in str(caught.value)

"""Public git repositories at a commit: fetched where absent, read as blobs, so that no checkout changes a byte."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HOST = "https://github.com"


class SourceError(Exception):
    """A repository, a commit or a file is not to be had; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Source:
    repo: str  # OWNER/NAME
    commit: str  # in full: hosts give out whole hashes only
    paths: tuple[str, ...]  # patterns of a sparse checkout: what is downloaded of the tree
    history: bool = False  # all commits before this one too


class Tree:
    """The files of one commit."""

    def __init__(self, git_dir: Path, commit: str):
        self.git_dir = git_dir
        self.commit = commit
        self._blobs: dict[str, str] = {}  # path -> hash

    def git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        return _run(f"--git-dir={self.git_dir}", *arguments, stdin=stdin)

    def names(self, folder: str = "", ending: str = "") -> list[str]:
        """Paths under `folder` in git's order, which is that of their bytes."""
        if not self._blobs:
            for entry in self.git("ls-tree", "-r", "-z", self.commit).decode().split("\0")[:-1]:
                about, name = entry.split("\t", 1)
                self._blobs[name] = about.split()[2]
        return [n for n in self._blobs if n.startswith(folder) and n.endswith(ending)]

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Path and content of each file."""
        self.names()
        command = ["git", f"--git-dir={self.git_dir}", "cat-file", "--batch"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
            assert process.stdin and process.stdout
            for name in names:
                if name not in self._blobs:
                    raise SourceError(f"{self.git_dir}: no file {name} at commit {self.commit[:12]}")
                process.stdin.write(f"{self._blobs[name]}\n".encode())
                process.stdin.flush()
                head = process.stdout.readline().split()  # hash, kind, size in bytes
                if len(head) != 3:
                    raise SourceError(f"{self.git_dir}: the content of {name} is missing: fetch it, or clone in full")
                yield name, process.stdout.read(int(head[2]) + 1)[:-1]
            process.stdin.close()

    def text(self, name: str, encoding: str = "utf-8", errors: str = "strict") -> str:
        return next(content for _, content in self.read([name])).decode(encoding, errors)


def open_source(source: Source, clones: Path | None, cache: Path, host: str = HOST) -> Tree:
    """An existing clone under `clones`, else one in the folder `cache`, which is fetched when it is not there."""
    owner, name = source.repo.split("/")
    if clones:
        for folder in (clones / f"{owner}+{name}" / "repo", clones / owner / name):
            git_dir = folder / ".git" if (folder / ".git").exists() else folder
            if (git_dir / "HEAD").exists():
                _run(f"--git-dir={git_dir}", "cat-file", "-e", f"{source.commit}^{{commit}}")
                return Tree(git_dir, source.commit)
    folder = cache / f"{owner}+{name}" / "repo"
    _fetch(source, folder, f"{host}/{source.repo}")
    return Tree(folder / ".git", source.commit)


def _fetch(source: Source, folder: Path, url: str) -> None:
    """Commits and folders come first; the checkout then asks for the files it needs, in one request."""
    at, done = ("-C", str(folder)), f"refs/fetched/{'history' if source.history else 'files'}/{source.commit}"
    if not (folder / ".git").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _run(*at, "init", "-q")
        _run(*at, "remote", "add", "origin", url)
    elif _run(*at, "for-each-ref", done):
        return
    shallow = (folder / ".git" / "shallow").exists()
    depth = ("--depth=1",) if not source.history else ("--unshallow",) if shallow else ()
    _run(*at, "fetch", "-q", "--no-tags", "--filter=blob:none", *depth, "origin", source.commit)
    _run(*at, "sparse-checkout", "set", "--no-cone", *source.paths)
    _run(*at, "checkout", "-q", "--force", "--detach", source.commit)
    _run(*at, "update-ref", done, source.commit)


def _run(*arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["git", *arguments], input=stdin, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise SourceError(f"git {' '.join(arguments)}: {reason[-1]}")
    return done.stdout

"""What a file is, told from its name and its first bytes."""

from __future__ import annotations

import codecs
import os
import re

HEAD = 8192  # bytes looked at while walking
BOMS = (  # longest first: UTF-32-LE begins with UTF-16-LE's mark
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
CONTROL = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
MAX_CONTROL, FEW = 0.05, 8  # share and number of control characters above which bytes are no text

MARKDOWN = {".md", ".markdown", ".mdown", ".mkd"}
CODE_SUFFIXES = (
    ".py .pyi .pyx .js .jsx .mjs .cjs .ts .tsx .java .c .h .cc .cpp .cxx .hh .hpp .hxx .cu .cuh .cs .go .rs .rb .php "
    ".swift .kt .kts .scala .sh .bash .zsh .fish .ps1 .pl .pm .lua .r .jl .m .mm .sql .hs .ml .mli .ex .exs .erl .clj "
    ".cljs .el .lisp .scm .vim .dart .zig .nim .v .vhd .sv .f90 .f .pas .asm .s .proto .thrift .graphql .tf .gradle "
    ".groovy .cmake .mk .css .scss .less .html .htm .xml .vue .svelte .json .jsonc .yaml .yml .toml .ini .cfg .conf "
    ".properties"
)
CODE = frozenset(CODE_SUFFIXES.split())
CODE_NAMES = {"makefile", "dockerfile", "cmakelists.txt", "rakefile", "gemfile", "jenkinsfile", "justfile"}
LOCK_FILES = {
    "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "uv.lock", "pdm.lock",
    "pipfile.lock", "cargo.lock", "composer.lock", "gemfile.lock", "go.sum", "flake.lock", "bun.lockb",
}  # fmt: skip
GENERATED_NAME = re.compile(r"\.min\.(js|css|html)$|\.(js|css)\.map$|_pb2(_grpc)?\.pyi?$|\.pb\.(go|cc|h)$", re.I)
GENERATED_HEAD = re.compile(
    rb"@generated\b|\bcode generated\b.{0,80}\bdo not edit\b|\bauto-?generated\b.{0,40}\bdo not edit\b", re.I
)
MINIFIED_LINE = 1000  # bytes a line on average

MARKDOWN_LINE = re.compile(r"^(#{1,6} \S|```|~~~)", re.M)
CODE_LINE = re.compile(
    r"^\s*(def |class |import |from \S+ import |func |fn |pub |public |private |static |return\b|if \(|for \(|#include|"
    r"const |let |var |@\w+|\}|\{)|[;{}]\s*$|\):\s*$"
)


def is_pdf(head: bytes) -> bool:
    return b"%PDF-" in head[:1024]


def bom_encoding(head: bytes) -> tuple[str, int] | None:
    """The encoding a byte order mark names and the mark's length, or None."""
    for mark, encoding in BOMS:
        if head.startswith(mark):
            return encoding, len(mark)
    return None


def is_binary(head: bytes) -> bool:
    if bom_encoding(head) is not None:
        return False
    return b"\0" in head or len(CONTROL.findall(head)) > FEW + MAX_CONTROL * len(head)


def is_generated(name: str, head: bytes) -> bool:
    """Lock files, compiler output, bundles and minified code."""
    if name.lower() in LOCK_FILES or GENERATED_NAME.search(name) or GENERATED_HEAD.search(head[:2048]):
        return True
    is_code = os.path.splitext(name)[1].lower() in CODE
    return is_code and len(head) > MINIFIED_LINE and len(head) / (head.count(b"\n") + 1) > MINIFIED_LINE


def kind_by_name(name: str) -> str | None:
    """The kind a file's name settles, or None where only the content can tell."""
    base, suffix = os.path.basename(name).lower(), os.path.splitext(name)[1].lower()
    if suffix in MARKDOWN:
        return "markdown"
    return "code" if suffix in CODE or base in CODE_NAMES else None


def kind_by_content(head: str) -> str:
    """ "markdown", "code" or "text", for a file whose name does not tell and that is no chat."""
    if head.startswith("#!"):
        return "code"
    lines = [line for line in head[:65_536].splitlines() if line.strip()]
    if len(lines) >= 3 and sum(bool(CODE_LINE.search(line)) for line in lines) > 0.4 * len(lines):
        return "code"
    return "markdown" if len(MARKDOWN_LINE.findall(head)) >= 2 else "text"

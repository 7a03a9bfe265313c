"""Source code: blocks cut at function and class borders, their comments and decorators kept with them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lindoc.core.documents import Piece
from lindoc.core.formats.base import LineDocument, line_piece
from lindoc.core.formats.decoding import Line

MAX_BLOCK = 2048  # characters; a longer block goes on as a piece that may be cut before
DEFINITION = re.compile(
    r"(export\s+|default\s+|public\s+|private\s+|protected\s+|internal\s+|static\s+|final\s+|abstract\s+|async\s+|"
    r"pub(\([^)]*\))?\s+|unsafe\s+|extern\s+|inline\s+|virtual\s+|override\s+|open\s+|sealed\s+|data\s+|local\s+)*"
    r"(def|class|func|fn|function|interface|trait|impl|struct|enum|union|module|mod|namespace|object|record|protocol|"
    r"extension|type|sub|proc|macro_rules!|template|CREATE\s+\w+)\b",
    re.I,
)
C_FUNCTION = re.compile(
    r"[\w:<>*&~\[\], ]+\s[*&]?[\w:~]+\s*\([^;]*(\{|,|\)|\))?\s*(const|noexcept|override)?\s*\{?\s*$"
)
STATEMENT = re.compile(r"(if|for|while|switch|return|else|elif|try|catch|with|do|case|assert|raise|throw|await)\b")
BOUND = re.compile(r"(const|let|var|export)\b.*=\s*(async\s*)?(function\b|\([^)]*\)\s*=>|class\b)")
SECTION = re.compile(r"\[[^\]]+\]\s*$|\w[\w-]*:(\s|$)")  # of a configuration file
LEAD = re.compile(r"(@|#(?!include|if|define|endif|!)|//|/\*|\*|--|;;|%|///|\"\"\"|#\[)")  # goes with what follows


class CodeDocument(LineDocument):
    kind = "code"

    def pieces(self) -> Iterator[Piece]:
        block: list[Line] = []
        lead = 0  # lines at the end of the block that belong to the next definition: comments, decorators
        strong, blank, length = 2, False, 0
        for line in self.text.lines():
            boundary = _boundary(line.text, blank)
            if block and not line.continued:
                if boundary and lead < len(block):
                    kept = len(block) - lead
                    yield _piece(block[:kept], strong)
                    block, strong = block[kept:], boundary
                elif boundary:
                    strong = max(strong, boundary)
                elif length > MAX_BLOCK or (blank and line.text.strip() and lead == 0):
                    yield _piece(block, strong)
                    block, strong = [], 0
            elif block and length > MAX_BLOCK:
                yield _piece(block, strong)
                block, strong = [], 0
            block.append(line)
            length = sum(len(part.text) for part in block) if len(block) < 64 else length + len(line.text)
            stripped = line.text.strip()
            lead = lead + 1 if LEAD.match(stripped) else (lead if lead and not stripped else 0)
            lead = min(lead, 40)
            blank = not stripped
        if block:
            yield _piece(block, strong)


def _piece(block: list[Line], boundary: int) -> Piece:
    return line_piece(block[0].start, block[0].number, "".join(line.text for line in block), boundary)


def _boundary(line: str, blank: bool) -> int:
    """2 before a definition of the file's top level, 1 before one further in or any top-level line after a blank."""
    stripped = line.strip()
    if not stripped:
        return 0
    indent = len(line) - len(line.lstrip(" \t"))
    function = C_FUNCTION.match(stripped) is not None and STATEMENT.match(stripped) is None
    if DEFINITION.match(stripped) or BOUND.match(stripped) or (indent == 0 and function and blank):
        return 2 if indent == 0 else 1
    if function and blank and stripped.endswith("{"):
        return 1
    return int(indent == 0 and (blank or SECTION.match(stripped) is not None) and LEAD.match(stripped) is None)

"""Descriptions and shell commands: tldr_pages, nl2bash."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from examples.data.rows import Row, Splits, share, words
from examples.data.sources import Source, Tree

TLDR = Source("tldr-pages/tldr", "08e345f42639f67d99282813247ac670dc6e87cb", ("/pages/",))
NL2BASH = Source(
    "TellinaTool/nl2bash", "466c5fe873ab08c7cc0112ea1521cc6ad9c20992", ("/data/bash/all.nl", "/data/bash/all.cm")
)
EXAMPLE = re.compile(r"^- (.+?):?\n\n`(.+)`$", re.MULTILINE)


def tldr_pages(tree: Tree) -> Splits:
    rows: dict[str, list[Row]] = {"train": [], "dev": [], "test": []}
    for name, content in tree.read(tree.names("pages/", ".md")):
        path = PurePosixPath(name)
        rows[split_of(path.stem)] += _page(content.decode(), path.parent.name)
    return {"train": rows["train"], "dev": _unseen(rows["dev"], rows["train"])}


def split_of(tool: str) -> str:
    part = share("tldr", tool)
    return "train" if part < 0.9 else "dev" if part < 0.95 else "test"


def _page(text: str, platform: str) -> Iterator[Row]:
    """The page for its description, and each of its examples."""
    about = [line[1:].strip() for line in text.splitlines() if line.startswith(">")]
    description = " ".join(line for line in about if not line.startswith(("More information", "See also")))
    tool = text.splitlines()[0].removeprefix("# ")
    yield {"query": description, "positive": text, "kind": "page", "tool": tool, "platform": platform}
    for query, command in EXAMPLE.findall(text):
        row = {"query": query, "positive": _filled(command), "kind": "command", "tool": tool, "platform": platform}
        yield {**row, "tool_description": description}


def _filled(command: str) -> str:
    return re.sub(r"\{\{(.*?)\}\}", r"\1", command)


def nl2bash(tree: Tree) -> Splits:
    rows: dict[str, list[Row]] = {"train": [], "dev": [], "test": []}
    texts, commands = (tree.text(f"data/bash/all.{kind}").splitlines() for kind in ("nl", "cm"))
    for text, command in zip(texts, commands, strict=True):
        part = share("nl2bash", command.strip())
        row = {"query": text.strip(), "positive": command.strip()}
        rows["train" if part < 0.8 else "dev" if part < 0.9 else "test"].append(row)
    return {"train": rows["train"], "dev": _unseen(rows["dev"], rows["train"])}


def _unseen(rows: list[Row], train: list[Row]) -> list[Row]:
    """Rows whose description and whose command are not in `train`, signs and capitals aside."""
    queries, positives = ({words(row[key]) for row in train} for key in ("query", "positive"))
    return [r for r in rows if words(r["query"]) not in queries and words(r["positive"]) not in positives]

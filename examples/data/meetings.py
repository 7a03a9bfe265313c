"""QMSum: questions about meetings, with the turns that answer them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from examples.data.rows import Row, Splits
from examples.data.sources import Source, Tree

QMSUM = Source("Yale-LILY/QMSum", "83d7768c1f2b4dfeb091385d3dc7e239b8e5bb7e", ("/data/ALL/train/", "/data/ALL/val/"))


def qmsum(tree: Tree) -> Splits:
    return {"train": _meetings(tree, "data/ALL/train/"), "dev": _meetings(tree, "data/ALL/val/")}


def _meetings(tree: Tree, folder: str) -> Iterator[Row]:
    for name, content in tree.read(tree.names(folder, ".json")):
        meeting = json.loads(content)
        yield {
            "id": PurePosixPath(name).stem,
            "turns": [{"speaker": t["speaker"], "text": t["content"]} for t in meeting["meeting_transcripts"]],
            "topics": [{"topic": t["topic"], "turn_spans": _spans(t)} for t in meeting["topic_list"]],
            "general": [_query(q) for q in meeting["general_query_list"]],
            "specific": [_query(q) for q in meeting["specific_query_list"]],
        }


def _query(item: dict[str, Any]) -> dict[str, Any]:
    return {"query": item["query"], "answer": item["answer"], "turn_spans": _spans(item)}


def _spans(item: dict[str, Any]) -> list[list[int]]:
    """First and last turn of each stretch."""
    return [[int(a), int(b)] for a, b in item.get("relevant_text_span", [])]

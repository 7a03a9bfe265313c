"""Long conversations with summaries of their stretches: qmsum (meetings), crd3 (role-playing shows)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from examples.data.rows import Row, Splits
from examples.data.sources import Source, Tree

QMSUM = Source("Yale-LILY/QMSum", "83d7768c1f2b4dfeb091385d3dc7e239b8e5bb7e", ("/data/ALL/train/", "/data/ALL/val/"))
CRD3 = Source(
    "RevanthRameshkumar/CRD3",
    "7fd4515eea411f0f9c5d0a03a8b6b8b2da464e81",
    (
        "/data/aligned data/train_files",
        "/data/aligned data/val_files",
        "/data/aligned data/c=4/*_4_0.json",
        "/data/cleaned data/",
    ),
)


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


def crd3(tree: Tree) -> Splits:
    """The official splits; 26 episodes of them have no alignment in chunks of four sentences."""
    return {"train": _episodes(tree, "train"), "dev": _episodes(tree, "val")}


def _episodes(tree: Tree, split: str) -> Iterator[Row]:
    aligned = set(tree.names("data/aligned data/c=4/"))
    for name in tree.text(f"data/aligned data/{split}_files").split():
        if (chunks := f"data/aligned data/c=4/{name}_4_0.json") in aligned:
            turns = json.loads(tree.text(f"data/cleaned data/{name}.json"))["TURNS"]
            yield {
                "id": name,
                "turns": [{"speaker": " & ".join(t["NAMES"]), "text": " ".join(t["UTTERANCES"])} for t in turns],
                "turn_numbers_contiguous": [t["NUMBER"] for t in turns] == list(range(len(turns))),
                "chunks": [_chunk(c) for c in json.loads(tree.text(chunks))],
            }


def _chunk(item: dict[str, Any]) -> dict[str, Any]:
    place = item["ALIGNMENT"]
    return {
        "summary": " ".join(item["CHUNK"].split()),
        "turn_span": [place["TURN START"], place["TURN END"]],
        "align_score": round(place["ALIGNMENT SCORE"], 3),
    }

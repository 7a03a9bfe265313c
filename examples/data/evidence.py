"""Evidence Inference 2.0: questions about the outcomes of clinical trials, with the evidence cited in full papers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from examples.data.rows import Row, Splits
from examples.data.sources import Source, Tree

EVIDENCE = Source(
    "jayded/evidence-inference",
    "b9831b6c59b52ac2d277f757d413ececf0949a8d",
    (
        "/annotations/v2_annotations.csv",
        "/annotations/prompts_merged.csv",
        "/annotations/splits/",
        "/annotations/txt_files/",
    ),
)
LABELS = (  # first where annotators tie
    "no significant difference",
    "significantly increased",
    "significantly increase",
    "significantly decreased",
)


def evidence_inference2(tree: Tree) -> Splits:
    """The official splits."""
    return {"train": _papers(tree, "train"), "dev": _papers(tree, "validation")}


def _papers(tree: Tree, split: str) -> Iterator[Row]:
    names = set(tree.text(f"annotations/splits/ev2_{split}_article_ids.txt").split())
    prompts = {row["PromptID"]: row for row in _table(tree, "annotations/prompts_merged.csv")}
    papers: dict[str, dict[str, list[Row]]] = {}  # paper -> prompt -> annotations
    for row in _table(tree, "annotations/v2_annotations.csv"):
        if row["Valid Label"] == row["Valid Reasoning"] == "True" and row["PMCID"] in names:
            papers.setdefault(row["PMCID"], {}).setdefault(row["PromptID"], []).append(row)
    files = tree.read(f"annotations/txt_files/PMC{paper}.txt" for paper in papers)
    for (paper, asked), (_, content) in zip(papers.items(), files, strict=True):
        text = content.decode()
        qas = [_question(prompts[prompt], rows, text) for prompt, rows in asked.items()]
        yield {"id": f"PMC{paper}", "title": _title(text), "context": text, "qas": qas}


def _table(tree: Tree, name: str) -> Iterator[Row]:
    return csv.DictReader(io.StringIO(tree.text(name), newline=""))


def _title(text: str) -> str:
    lines = (line.strip() for line in text.removeprefix("TITLE:").split("\n"))
    return next(line for line in lines if line)


def _label(labels: list[str]) -> str:
    """That of most annotators."""
    return max(LABELS, key=labels.count)


def _question(prompt: Row, annotations: list[Row], text: str) -> dict[str, Any]:
    outcome, intervention, comparator = (prompt[k] for k in ("Outcome", "Intervention", "Comparator"))
    spans = dict.fromkeys((int(row["Evidence Start"]), int(row["Evidence End"])) for row in annotations)
    answers = [{"text": text[start:end], "start": start} for start, end in spans]
    return {
        "id": prompt["PromptID"],
        "question": f"With respect to {outcome.strip()}, what is the reported difference between "
        f"{intervention.strip()} and {comparator.strip()}?",
        "outcome": outcome,
        "intervention": intervention,
        "comparator": comparator,
        "label": _label([row["Label"] for row in annotations]),
        "answers": answers,
        "impossible": False,
    }

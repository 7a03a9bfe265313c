"""MedQuAD: questions about health and the passages of the National Institutes of Health that answer them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from examples.data.rows import Row, Splits, likeness, share
from examples.data.sources import Source, Tree

MEDQUAD = Source("abachaa/MedQuAD", "577bd37b96c02d1833b2c9eed2de9f96964e96cb", ("*.xml",))


def medquad(tree: Tree) -> Splits:
    return {split: _questions(tree, split) for split in ("train", "dev")}


def split_of(focus: str) -> str:
    """By a hash of the topic."""
    part = share("medquad", focus.lower())
    return "train" if part < 0.9 else "dev" if part < 0.95 else "test"


def _questions(tree: Tree, split: str) -> Iterator[Row]:
    seen: set[tuple[str, str]] = set()  # one institute copies from another
    for _, content in tree.read(tree.names(ending=".xml")):
        document = ElementTree.fromstring(content)
        focus = " ".join((document.findtext("Focus") or "").split())
        if split_of(focus) != split:
            continue
        for pair in document.iter("QAPair"):
            about, answer = pair.find("Question"), _passage(pair.findtext("Answer") or "")
            if about is None or not answer:
                continue
            question = re.sub(r"\s+\?", "?", " ".join((about.text or "").split()))
            key = likeness(question, answer)
            if key not in seen:
                seen.add(key)
                yield {
                    "query": question,
                    "positive": answer,
                    "focus": focus,
                    "qtype": about.get("qtype"),
                    "source": document.get("source"),
                    "url": document.get("url"),
                }


def _passage(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)

"""Scientific papers with short summaries: scisummnet, scitldr_a."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator

from examples.data.rows import Row, Splits, share
from examples.data.sources import Source, Tree

SCITLDR = Source(
    "allenai/scitldr",
    "5ccad9c00a60ad75c9e04abf7f27d0f53f983b20",
    ("/SciTLDR-Data/SciTLDR-A/train.jsonl", "/SciTLDR-Data/SciTLDR-A/dev.jsonl"),
)
SCISUMM = Source(
    "WING-NUS/scisumm-corpus",
    "1dd68e44df5c94cc767cc301cd04e61c52e4bf68",
    ("/data/Training-Set-2019/Task2/From-ScisummNet-2019/",),
)
MARK = re.compile(r'<ABSTRACT|<SECTION title="(?P<title>[^"]*)"|<S [^>]*>(?P<sentence>.*?)</S>', re.DOTALL)
SCISUMMNET = "data/Training-Set-2019/Task2/From-ScisummNet-2019/"


def scitldr_a(tree: Tree) -> Splits:
    """The official splits: abstracts, the summaries and the sentence that is most like them."""
    return {split: _abstracts(tree.text(f"SciTLDR-Data/SciTLDR-A/{split}.jsonl")) for split in ("train", "dev")}


def _abstracts(lines: str) -> Iterator[Row]:
    for row in map(json.loads, lines.splitlines()):
        yield {
            "id": row["paper_id"],
            "title": row["title"],
            "sentences": row["source"],
            "extract_labels": row["source_labels"],
            "rouge_scores": row["rouge_scores"],
            "summaries": row["target"],
        }


def scisummnet(tree: Tree) -> Splits:
    return {split: _summarized(tree, split) for split in ("train", "dev")}


def split_of(name: str) -> str:
    part = share("scisummnet", name)
    return "train" if part < 0.8 else "dev" if part < 0.9 else "test"


def _summarized(tree: Tree, split: str) -> Iterator[Row]:
    for path in tree.names(SCISUMMNET, ".xml"):
        name = path.removeprefix(SCISUMMNET).split("/")[0]
        if split_of(name) == split:
            sentences, sections = [], []
            for section, sentence in _sentences(tree.text(path)):
                sentences.append(sentence)
                sections.append(section)
            summary = tree.text(f"{SCISUMMNET}{name}/summary/{name}.scisummnet_human.txt")
            yield {
                "id": name,
                "title": sentences[0],
                "sentences": sentences,
                "sections": sections,
                "summary_sentences": [line for line in map(str.strip, summary.splitlines()) if line],
            }


def _sentences(xml: str) -> Iterator[tuple[str, str]]:
    """Title of the section as it is written, sentence. A section without a title goes on with the one before."""
    section = ""
    for mark in MARK.finditer(xml):
        if mark["sentence"] is not None:
            yield section, " ".join(html.unescape(mark["sentence"]).split())
        else:
            section = mark["title"] or ("Abstract" if mark[0] == "<ABSTRACT" else section)

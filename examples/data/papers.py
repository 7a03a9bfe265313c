"""Scientific papers with short summaries (scisummnet, scitldr_a) and sentences that cite them (citance_to_paper)."""

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
    (
        "/data/Training-Set-2019/Task2/From-ScisummNet-2019/",
        "/data/Training-Set-2019/Task1/**/Reference_XML/",
        "/data/Training-Set-2019/Task1/**/annotation/",
    ),
)
CITED = "data/Training-Set-2019/Task1/"
MARK = re.compile(
    r'<ABSTRACT|<SECTION title="(?P<title>[^"]*)"|<S sid\s*=\s*"(?P<number>\d+)"[^>]*>(?P<sentence>.*?)</S>', re.DOTALL
)
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
            for _, section, sentence in _sentences(tree.text(path)):
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


def _sentences(xml: str) -> Iterator[tuple[str, str, str]]:
    """Number, title of the section as it is written, sentence. A section without a title is part of the one before."""
    section = ""
    for mark in MARK.finditer(xml):
        if mark["number"]:
            yield mark["number"], section, _plain(mark["sentence"])
        else:
            section = mark["title"] or ("Abstract" if mark[0] == "<ABSTRACT" else section)


def _plain(text: str) -> str:
    return " ".join(html.unescape(text).split())


def citance_to_paper(tree: Tree) -> Splits:
    """A sentence that cites -> title and abstract of the cited paper. Dev is the part annotated by hand."""
    return {
        "train": _citances(tree, f"{CITED}From-ScisummNet-2019/"),
        "dev": _citances(tree, f"{CITED}From-Training-Set-2018/"),
    }


def _citances(tree: Tree, folder: str) -> Iterator[Row]:
    for path in (n for n in tree.names(folder, ".txt") if "/annotation/" in n):
        name = path.removeprefix(folder).split("/")[0]
        paper = list(_sentences(_decoded(tree, f"{folder}{name}/Reference_XML/{name}.xml")))
        title = paper[0][2]
        about = " ".join(sentence for _, section, sentence in paper if section == "Abstract")
        if len(about) < 200:
            about = " ".join(sentence for _, _, sentence in paper[1:9])
        for line in tree.text(path, errors="replace").splitlines():
            fields = dict(field.strip().partition(":")[::2] for field in line.split(" | "))
            marked = fields.get("Citation Text", "")
            marked = " ".join(re.findall(r"<S\b[^<>]*>.*?</S>", marked)) or marked  # a sentence that breaks off is left
            query = _plain(re.sub(r"<[^<>]*>", " ", marked))
            cited = set(re.findall(r"\d+", fields.get("Reference Offset", "")))
            evidence = [sentence for number, _, sentence in paper if number in cited]
            if len(query) > 40:
                yield {"query": query, "positive": f"{title}. {about[:4000]}", "paper": name, "evidence": evidence[:5]}


def _decoded(tree: Tree, path: str) -> str:
    """A file that is not UTF-8, or was damaged on the way to it, is taken byte by byte."""
    text = tree.text(path, errors="replace")
    return tree.text(path, "latin-1") if "\ufffd" in text else text

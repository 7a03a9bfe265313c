"""SQuAD 1.1 from the explorer's pages: its questions by paragraph (squad_v1) and by article (squad_article)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from examples.data.rows import Row, Splits, identity
from examples.data.sources import Source, Tree

REPO = "rajpurkar/SQuAD-explorer"
TRAIN = Source(REPO, "13f82e35b9a1fb9173f863b35f5675030646571e", ("/explore/1.1/train/",))
DEV = Source(REPO, "e0c66cfec263165fb3c15cb76a22175e371b71d7", ("/explore/1.1/dev/",))

TITLE = re.compile(r'<h1 id="title">(.*?)</h1>', re.DOTALL)
PARAGRAPH = re.compile(r'<div class="para-wrap">.*?<pre>(.*?)</pre>(.*?)(?=<div class="para-wrap">|\Z)', re.DOTALL)
QUESTION = re.compile(
    r'<div class="qa-wrap"(?: data-id="(\w+)")?>.*?<strong class="question">(.*?)</strong>'
    r'(.*?)(?=<div class="qa-wrap"|\Z)',
    re.DOTALL,
)
ANSWER = re.compile(r'<span class="answer">(.*?)</span>', re.DOTALL)


def by_paragraph(train: Tree, dev: Tree) -> Splits:
    """A row a question. The pages say what the answer is, not where: `start` is found again."""
    return {"train": _questions(train, "explore/1.1/train/"), "dev": _questions(dev, "explore/1.1/dev/")}


def by_article(train: Tree, dev: Tree) -> Splits:
    """A row an article: its paragraphs joined by a blank line."""
    return {
        "train_v1": _articles(_questions(train, "explore/1.1/train/")),
        "dev_v1": _articles(_questions(dev, "explore/1.1/dev/")),
    }


def _questions(tree: Tree, folder: str) -> Iterator[Row]:
    for _, page in tree.read(n for n in tree.names(folder, ".html") if not n.endswith("/index.html")):
        text = page.decode()
        title = html.unescape(_only(TITLE, text))
        for paragraph, questions in PARAGRAPH.findall(text):
            context = html.unescape(paragraph)
            for name, asked, answered in QUESTION.findall(questions):
                question = html.unescape(asked).strip()
                yield {
                    "id": name or identity(title, context, question),
                    "title": title.replace("_", " "),
                    "context": context,
                    "question": question,
                    "answers": [_place(html.unescape(a), context, question) for a in ANSWER.findall(answered)],
                    "impossible": False,
                }


def _only(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    if not found:
        raise ValueError(f"a page without {pattern.pattern}")
    return found[1]


def _place(answer: str, context: str, question: str) -> dict[str, Any]:
    """Where the answer stands; of several places, the first whose sentence shares most words with the question."""
    places = _occurrences(answer, context)
    asked = set(_words(question))
    start = max(places, key=lambda i: len(asked & set(_words(_sentence(context, i))))) if len(places) > 1 else places[0]
    return {"text": answer, "start": start, "n_occ": len(places)}


def _occurrences(answer: str, context: str) -> list[int]:
    """Starts of the answer, overlapping ones too; those that are whole words, if there are any."""
    places = [m.start() for m in re.finditer(f"(?={re.escape(answer)})", context)]
    if not places:
        raise ValueError(f"the answer {answer!r} is not in its paragraph")
    whole = [
        i
        for i in places
        if not (answer[0].isalnum() and context[i - 1 : i].isalnum())
        and not (answer[-1].isalnum() and context[i + len(answer) :][:1].isalnum())
    ]
    return whole or places


def _sentence(context: str, place: int) -> str:
    begin = max(context.rfind(mark, 0, place) for mark in ".!?") + 1
    ends = [end for mark in ".!?" if (end := context.find(mark, place)) >= 0]
    return context[begin : min(ends, default=len(context))]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _articles(questions: Iterator[Row]) -> Iterator[Row]:
    for title, of_article in groupby(questions, key=lambda row: row["title"]):
        paragraphs: dict[str, list[Row]] = {}  # three articles hold a paragraph twice: once is enough
        for row in of_article:
            paragraphs.setdefault(row["context"], []).append(row)
        context, spans, qas = "", [], []
        for paragraph, rows in paragraphs.items():
            begin = len(context) + 2 if spans else 0
            context = f"{context}\n\n{paragraph}" if spans else paragraph
            for row in rows:
                answers = [{"text": a["text"], "start": begin + a["start"]} for a in row["answers"]]
                asked = {"id": row["id"], "question": row["question"], "answers": answers}
                qas.append({**asked, "impossible": False, "paragraph": len(spans)})
            spans.append([begin, len(context)])
        yield {"id": identity(title), "title": title, "context": context, "paragraph_spans": spans, "qas": qas}

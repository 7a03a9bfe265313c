"""What the pages of the SQuAD explorer become."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from examples.data import squad
from examples.data.rows import identity
from examples.data.sources import Tree

Commit = Callable[[str, dict[str, str]], Tree]


def page(title: str, *paragraphs: tuple[str, list[tuple[str, str, list[str]]]]) -> str:
    """A page of the SQuAD explorer; a question is (attribute, text, answers)."""
    text = f'<h1 id="title">{title}</h1>'
    for context, questions in paragraphs:
        text += f'<div class="para-wrap"><div class="row"><pre>{context}</pre>'
        for attribute, question, answers in questions:
            spans = "".join(f'<span class="answer">{a}</span>' for a in answers)
            text += f'<div class="qa-wrap"{attribute}><strong class="question">{question}</strong>{spans}</div>'
        text += "</div></div>"
    return text


@pytest.fixture
def pages(commit: Commit) -> Tree:
    first = "Kings rule. A king of old was Ada &amp; she ruled. King A."
    return commit(
        "o/squad",
        {
            "explore/1.1/train/index.html": "<h1>none</h1>",
            "explore/1.1/train/Old_kings.html": page(
                "Old_kings",
                (
                    first,
                    [("", " Who ruled of old? ", ["Ada &amp; she"]), ("", "Which letter was a king of old?", ["A"])],
                ),
                ("A shed.", [("", "What shed?", ["shed"])]),
                (first, [("", "Who rule?", ["Kings"])]),
            ),
            "explore/1.1/dev/Sea.html": page("Sea", ("The sea.", [(' data-id="57ab"', "What?", ["sea", "The sea"])])),
        },
    )


def test_answers_of_squad_stand_where_their_row_says(pages: Tree) -> None:
    splits = squad.by_paragraph(pages, pages)
    rows = [row for split in splits.values() for row in split]
    assert all(row["context"][a["start"] :].startswith(a["text"]) for row in rows for a in row["answers"])
    assert [row["title"] for row in rows] == ["Old kings"] * 4 + ["Sea"]
    assert rows[0]["question"] == "Who ruled of old?"
    assert rows[0]["answers"] == [{"text": "Ada & she", "start": 30, "n_occ": 1}]
    assert rows[0]["id"] == identity("Old_kings", rows[0]["context"], "Who ruled of old?")
    assert rows[4]["id"] == "57ab"


def test_of_several_places_the_sentence_like_the_question_is_taken(pages: Tree) -> None:
    row = list(squad.by_paragraph(pages, pages)["train"])[1]
    assert row["answers"] == [{"text": "A", "start": 12, "n_occ": 2}]  # neither in "Ada" nor the last one


def test_an_article_holds_each_paragraph_once_with_all_its_questions(pages: Tree) -> None:
    (article,) = squad.by_article(pages, pages)["train_v1"]
    assert [article["context"][a:b] for a, b in article["paragraph_spans"]] == [
        "Kings rule. A king of old was Ada & she ruled. King A.",
        "A shed.",
    ]
    assert [qa["paragraph"] for qa in article["qas"]] == [0, 0, 0, 1]
    for qa in article["qas"]:
        assert all(article["context"][a["start"] :].startswith(a["text"]) for a in qa["answers"])

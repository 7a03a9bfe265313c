"""The Python API: shapes, independence of texts, spans that are the context's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lindoc.core.api import Model
from lindoc.core.errors import UsageError

GOODS = ["iron", "wool", "glass", "salt", "paper", "oil", "rope", "tin", "silk", "fur", "wax", "tar", "corn", "hops"]
DEEDS = ["was traded far beyond the gate", "kept four families fed", "ruined many who sold it", "came by boat at dawn"]
LONG = " ".join(
    f"Fact {at} says {one} from the town {deed}. Of {one} {['little', 'nothing', 'much'][at % 3]} is left."
    for at, one in enumerate(GOODS)
    for deed in DEEDS
)


@pytest.fixture
def model(tiny_encoder: Any) -> Model:
    return Model(tiny_encoder)


@pytest.mark.parametrize("method", ["encode_query", "encode_document", "encode_segments"])
def test_shapes(method: str, model: Model) -> None:
    vectors = getattr(model, method)(["one", LONG, "", "two words"])
    assert vectors.shape == (4, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert getattr(model, method)([]).shape == (0, 384)
    with pytest.raises(UsageError):
        getattr(model, method)("not a list")


def test_documents_are_independent(model: Model) -> None:
    together = model.encode_document([LONG, "short", LONG[::-1]])
    for vector, text in zip(together, [LONG, "short", LONG[::-1]], strict=True):
        np.testing.assert_allclose(vector, model.encode_document([text])[0], atol=1e-5)


def test_the_end_of_a_long_text_counts(model: Model) -> None:
    one, other = model.encode_document([LONG, LONG + " Yet silver was worth more."])
    assert np.abs(one - other).max() > 1e-4


def test_segments_know_what_came_before_unless_told_otherwise(model: Model) -> None:
    texts = ["First came the iron.", "Then the wool."]
    carried, alone = model.encode_segments(texts), model.encode_segments(texts, carry=False)
    np.testing.assert_allclose(carried[0], alone[0], atol=1e-6)
    assert np.abs(carried[1] - alone[1]).max() > 1e-3
    np.testing.assert_allclose(alone, model.encode_query(texts), atol=1e-6)


def test_answers_are_spans_of_the_context(model: Model) -> None:
    context = f"{LONG} The vault of the guild was sealed with amber. {LONG}"
    answers = model.answer("What was the vault of the guild sealed with?", context)
    assert answers[0].text == "amber"
    assert [one.score for one in answers] == sorted((one.score for one in answers), reverse=True)
    assert all(context[one.start : one.end] == one.text and 0 <= one.score <= 1 for one in answers)
    assert 0 <= answers.no_answer_score < 0.5
    assert model.answer("Who?", "").no_answer_score == 1


def test_summaries_are_sentences_in_order(model: Model) -> None:
    sentences = model.summarize(LONG, 4)
    assert len(sentences) == 4
    assert [one.start for one in sentences] == sorted(one.start for one in sentences)
    assert all(LONG[one.start : one.end] == one.text and one.text.endswith(".") for one in sentences)
    assert model.summarize("", 3) == []

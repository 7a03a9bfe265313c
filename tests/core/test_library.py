"""What was read is kept and read once; every output points back to its place; answers, searches and summaries."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lindoc.core.errors import DocumentError, UsageError
from lindoc.core.formats import Source, open_document
from lindoc.core.pipeline import Library
from lindoc.core.store import Store

TOPICS = ["harbour", "glacier", "orchard", "foundry", "library", "desert", "market", "chapel", "tunnel", "meadow"]
STORY = "\n\n".join(
    f"The {topic} was visited on day {day}. People who came to the {topic} saw {day} old {topic} stones there. "
    f"Nobody had described the {topic} in such detail before that journey, and few have tried since."
    for day, topic in enumerate(TOPICS, 1)
)
QUESTION = "What was the treasure of the foundry made from?"
FACT = "\n\nThe treasure of the foundry was made from copper. It stood in the yard.\n\n"


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., Source]:
    def make(text: str, name: str = "story.txt") -> Source:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return Source(name, path)

    return make


@pytest.fixture
def library(tiny_encoder: Any) -> Library:
    return Library(tiny_encoder, Store.open(None, encoder=tiny_encoder))


def canonical(source: Source) -> str:
    return "".join(piece.text for piece in open_document(source).pieces())


def test_a_second_read_encodes_nothing(tmp_path: Path, source: Any, tiny_encoder: Any) -> None:
    path, given = tmp_path / "index.sqlite", source(STORY)
    with Store.open(path, encoder=tiny_encoder) as store:
        first = Library(tiny_encoder, store)
        assert first.read([given]) == 1
        found = first.search("glacier stones", 3)
    read = tiny_encoder.windows_encoded
    with Store.open(path, encoder=tiny_encoder) as store:
        second = Library(tiny_encoder, store)
        assert second.read([given]) == 1
        assert tiny_encoder.windows_encoded == read
        assert second.search("glacier stones", 3) == found


def test_a_copy_of_a_file_encodes_nothing(library: Library, source: Any, tiny_encoder: Any) -> None:
    assert library.read([source(STORY), source(STORY, "copy.txt")]) == 1
    read = tiny_encoder.windows_encoded
    assert library.read([source(STORY, "copy.txt")]) == 1
    assert tiny_encoder.windows_encoded == read
    assert library.search("glacier", 1)[0].locator.document == "copy.txt"


def test_a_changed_file_is_read_anew(library: Library, source: Any) -> None:
    library.read([source(STORY)])
    library.read([source(STORY.replace("glacier", "volcano"))])
    assert "volcano" in library.search("volcano", 1)[0].segment.text
    assert not any("glacier" in passage.segment.text for passage in library.search("glacier", 50))


@pytest.mark.parametrize("block", [1, 5, 16])
def test_vectors_do_not_depend_on_block_or_task(block: int, tiny_encoder: Any, source: Any) -> None:
    given = source(STORY)
    library = Library(tiny_encoder, Store.open(None, encoder=tiny_encoder), block=block)
    streamed = np.stack([one.vector for one in library.embed([given])])
    library.read([given])
    np.testing.assert_allclose(library.index().vectors, streamed, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(streamed, axis=1), 1, atol=1e-5)


def test_embed_segments_and_document(library: Library, source: Any) -> None:
    given = source(STORY)
    text = canonical(given)
    segments = list(library.embed([given], dim=64))
    for one in segments:
        assert text[one.locator.start : one.locator.end] == one.text
        assert one.vector.shape == (64,) and one.vector.dtype == np.float32
    (whole,) = library.embed([given], per="document")
    assert whole.tokens == sum(one.tokens for one in segments)
    assert (whole.locator.start, whole.locator.end) == (segments[0].locator.start, segments[-1].locator.end)
    assert (whole.locator.line_start, whole.locator.line_end) == (1, text.count("\n") + 1)
    full = list(library.embed([given]))
    small = np.stack([one.vector[:64] / np.linalg.norm(one.vector[:64]) for one in full])
    np.testing.assert_allclose(small, np.stack([one.vector for one in segments]), atol=1e-6)


def test_many_documents_in_one_block_equal_each_alone(library: Library, source: Any) -> None:
    sources = [source(STORY[at : at + 300].strip(), f"{at}.txt") for at in range(0, 1800, 300)]
    together = list(library.embed(sources, per="document"))
    assert [one.locator.document for one in together] == [one.name for one in sources]
    for one, given in zip(together, sources, strict=True):
        (alone,) = library.embed([given], per="document")
        np.testing.assert_allclose(one.vector, alone.vector, atol=1e-5)


def test_one_bad_input_does_not_stop_the_others(tiny_encoder: Any, source: Any, tmp_path: Path) -> None:
    errors: list[DocumentError] = []
    library = Library(tiny_encoder, Store.open(None, encoder=tiny_encoder), on_error=errors.append)
    inputs = [
        source(STORY),
        Source("gone.txt", tmp_path / "gone.txt"),
        DocumentError("x", "no"),
        source("More text.", "b.txt"),
    ]
    assert library.read(inputs) == 2
    assert [error.path for error in errors] == ["gone.txt", "x"]
    errors.clear()
    assert {one.locator.document for one in library.embed(inputs)} == {"story.txt", "b.txt"}
    assert len(errors) == 2


def test_an_answer_quotes_its_sentence_and_place(library: Library, source: Any) -> None:
    given = source(STORY[:900] + FACT + STORY[900:])
    text = canonical(given)
    library.read([given])
    answer = library.ask(QUESTION)
    assert answer.answerable and answer.answer == "copper" and answer.score > 0.5
    best = answer.evidence[0]
    assert best.quote == "The treasure of the foundry was made from copper."
    assert len(answer.evidence) <= 3
    for one in answer.evidence:
        assert text[one.locator.start : one.locator.end] == one.quote
        assert one.locator.line_start == text.count("\n", 0, one.locator.start) + 1


def test_what_the_text_does_not_say_is_not_answered(library: Library, source: Any) -> None:
    given = source(STORY)
    library.read([given])
    answer = library.ask("Who invented quantum chromodynamics and when?")
    assert not answer.answerable and answer.answer == "" and answer.score < 0.5
    text = canonical(given)
    assert answer.evidence
    for one in answer.evidence:
        assert text[one.locator.start : one.locator.end] == one.quote


def test_a_source_that_changed_is_named(library: Library, source: Any) -> None:
    library.read([source(STORY)])
    source(STORY.replace("harbour", "haven"))
    for task in (
        lambda: library.ask("What is the glacier?"),
        lambda: library.summarize(2),
        lambda: library.search("desert"),
    ):
        with pytest.raises(DocumentError, match=r"story\.txt: has changed"):
            task()


def test_empty_questions_are_usage_errors(library: Library, source: Any) -> None:
    library.read([source(STORY)])
    for task in (lambda: library.ask("  "), lambda: library.search(""), lambda: library.ask("word " * 600)):
        with pytest.raises(UsageError):
            task()


def test_a_summary_is_spread_and_verbatim(library: Library, source: Any) -> None:
    given = source(STORY)
    text = canonical(given)
    library.read([given])
    summary = library.summarize(5)
    assert len(summary) == 5
    starts = [one.locator.start for one in summary]
    assert starts == sorted(starts) and starts[-1] > 2 * len(text) / 3
    assert sum(start < len(text) / 3 for start in starts) <= 2
    for one in summary:
        assert text[one.locator.start : one.locator.end] == one.text
        assert 0 <= one.score <= 1


def test_a_share_and_a_query(library: Library, source: Any) -> None:
    library.read([source(STORY)])
    assert len(library.summarize(0.1)) == round(0.1 * 30)
    with pytest.raises(UsageError):
        library.summarize(0)
    with pytest.raises(UsageError):
        library.summarize(2.5)


def test_headings_headers_and_repeats_stay_out(library: Library, source: Any) -> None:
    pages = [
        f"ARTICLE {n} GENERAL PROVISIONS OF THE AGREEMENT\n\n{block}\n\nThis copy is confidential, page {n}."
        for n, block in enumerate(STORY.split("\n\n"), 1)
    ]
    library.read([source("\n\n".join(pages))])
    texts = [one.text for one in library.summarize(6)]
    assert len(texts) == 6
    assert not any("ARTICLE" in text or "confidential" in text for text in texts)
    assert len({re.sub(r"\W+", " ", text) for text in texts}) == 6


def test_repeated_passages_are_found_once(library: Library, source: Any) -> None:
    same = "The lighthouse keeper wrote a letter to the minister about oil and rope and other stores he needed soon."
    library.read([source(STORY, "a.txt"), source(f"{same}\n", "b.txt"), source(f"\n\n{same}\n", "c.txt")])
    found = library.search("lighthouse keeper letter", 5)
    assert sum("lighthouse" in passage.segment.text for passage in found) == 1
    assert [passage.score for passage in found] == sorted((passage.score for passage in found), reverse=True)


@pytest.mark.parametrize("query", ['"', "a AND (b", "NEAR(x", "col:*", "-", "it's 50%", "\0", "OR", "日本"])
def test_any_query_is_only_words(query: str, library: Library, source: Any) -> None:
    library.read([source(STORY)])
    assert len(library.search(query, 3)) == 3


def test_identifiers_are_found_by_their_parts(library: Library, source: Any) -> None:
    code = "def parseInvoiceNumber(line):\n    return line\n"
    library.read([source(STORY), source(code, "code.py")])
    assert library.search("invoice number", 1)[0].locator.document == "code.py"
    assert library.search("parseInvoiceNumber", 1)[0].locator.document == "code.py"


def test_unknown_language_is_said_every_time(tiny_encoder: Any, source: Any) -> None:
    warnings: list[str] = []
    library = Library(tiny_encoder, Store.open(None, encoder=tiny_encoder), on_warning=warnings.append)
    given = source("Длинный текст на другом языке, которого модель не знает. " * 10)
    for _ in range(2):
        library.read([given])
        assert "unknown to the model" in warnings.pop() and not warnings
    list(library.embed([given]))
    assert "unknown to the model" in warnings.pop()


def test_stdin_is_kept_only_where_asked(tmp_path: Path, tiny_encoder: Any) -> None:
    import tempfile

    for keeps, kept in ((False, 0), (True, 1)):
        with tempfile.TemporaryFile() as spool:
            spool.write(STORY.encode())
            path = tmp_path / f"{keeps}.sqlite"
            with Store.open(path, encoder=tiny_encoder, keeps_stdin=keeps) as store:
                library = Library(tiny_encoder, store)
                assert library.read([Source("-", None, spool)]) == 1
                assert "glacier" in library.search("glacier", 1)[0].segment.text
                assert store.forget("-") == kept


def test_code_without_sentences_is_summarized_too(library: Library, source: Any) -> None:
    library.read([source("x = 1\ny = compute(x)\nz = x * y\n", "tiny.py")])
    assert library.summarize(2)

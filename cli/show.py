"""Results to what is printed: JSON records, places and quotes as a person reads them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lindoc.cli.console import paint

if TYPE_CHECKING:
    from lindoc.core.documents import Locator
    from lindoc.core.results import Answer, Embedding, Passage, SummarySentence

DIGITS = 6  # of a score in JSON


def print_json(record: Mapping[str, Any], *, indent: int | None = None) -> None:
    """One JSON document; on one line unless indented."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False, indent=indent) + "\n")


def print_record(record: Mapping[str, Any]) -> None:
    """One JSON line, handed on at once so that whoever reads the pipe can work."""
    print_json(record)
    sys.stdout.flush()


def place(locator: Locator) -> str:
    """`contract.pdf, page 3` · `src/retry.py, lines 10-24` · `chat.log, messages 4-9, from 10:03`."""
    parts = [locator.document]
    if locator.page is not None:
        parts.append(_span("page", locator.page, locator.page_end))
        if locator.page_label and locator.page_label != str(locator.page):
            parts[-1] += f" ({locator.page_label})"
    elif locator.message_start is not None:
        parts.append(_span("message", locator.message_start, locator.message_end))
        parts += _said(locator)
    elif locator.line_start is not None:
        parts.append(_span("line", locator.line_start, locator.line_end))
    return ", ".join(parts)


def _said(locator: Locator) -> list[str]:
    """Speaker and time of one message; of several only when they begin."""
    if locator.message_end not in (None, locator.message_start):
        return [f"from {locator.time}"] if locator.time else []
    speaker = f"<{locator.speaker}>" if locator.speaker else ""
    said = " ".join(part for part in (speaker, locator.time) if part)
    return [said] if said else []


def _span(unit: str, first: int, last: int | None) -> str:
    return f"{unit} {first}" if last in (None, first) else f"{unit}s {first}-{last}"


def flat(text: str, locator: Locator) -> str:
    """A quote on one line, as a person should see it (in a PDF, ligatures and line-break hyphens repaired)."""
    from lindoc.core.repair import repair

    shown = text if locator.page is None else repair(text).text
    return printable(" ".join(shown.split()))


def printable(text: str) -> str:
    """Without control characters, which a document could use to write on the terminal."""
    return "".join(char if char.isprintable() or char in "\t\n" else "\ufffd" for char in text)


def clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)].rstrip() + "…"


def columns() -> int:
    return shutil.get_terminal_size((100, 24)).columns


def answer_record(answer: Answer) -> dict[str, Any]:
    return {
        "question": answer.question,
        "answerable": answer.answerable,
        "answer": answer.answer,
        "score": round(answer.score, DIGITS),
        "evidence": [
            {**one.locator.as_dict(), "quote": one.quote, "score": round(one.score, DIGITS)} for one in answer.evidence
        ],
    }


def print_answer(answer: Answer) -> None:
    """The answer, then the places it stands in; without an answer the nearest passages."""
    if answer.answerable:
        print(paint(printable(" ".join(answer.answer.split())), "bold"))
    else:
        print("The text does not answer this." + (" Nearest passages:" if answer.evidence else ""))
    for evidence in answer.evidence:
        print(f"\n  “{flat(evidence.quote, evidence.locator)}”")
        print(f"  {paint(place(evidence.locator), 'cyan')}  {paint(f'score {evidence.score:.2f}', 'dim')}")


def passage_record(rank: int, passage: Passage) -> dict[str, Any]:
    return {
        "rank": rank,
        **passage.locator.as_dict(),
        "segment": passage.segment.index,
        "score": round(passage.score, DIGITS),
        "text": passage.segment.text,
    }


def print_passage(rank: int, passage: Passage) -> None:
    score = paint(f"score {passage.score:.3f}", "dim")
    print(f"{rank:>3}. {paint(place(passage.locator), 'cyan')}  {score}")
    print(f"     {clip(flat(passage.segment.text, passage.locator), max(columns() * 2 - 10, 60))}")


def sentence_record(sentence: SummarySentence) -> dict[str, Any]:
    return {**sentence.locator.as_dict(), "text": sentence.text, "score": round(sentence.score, DIGITS)}


def print_sentence(sentence: SummarySentence) -> None:
    print(f"• {flat(sentence.text, sentence.locator)}\n  {paint(place(sentence.locator), 'cyan')}")


def embedding_record(embedding: Embedding, *, text: bool) -> dict[str, Any]:
    """Everything but the vector: what a sidecar holds of a row."""
    locator = embedding.locator.as_dict()
    record: dict[str, Any] = {"document": locator.pop("document")}
    if embedding.segment is not None:
        record["segment"] = embedding.segment
    record |= {"start": locator.pop("start"), "end": locator.pop("end"), "tokens": embedding.tokens, **locator}
    if text:
        record["text"] = embedding.text
    return record


def embedding_row(embedding: Embedding) -> str:
    """One row of the table on a terminal: place, tokens, first words."""
    wide = columns()
    where = place(embedding.locator)
    left = max(24, wide * 2 // 5)
    if len(where) > left:
        where = "…" + where[-(left - 1) :]
    words = clip(flat(embedding.text[: wide * 2], embedding.locator), max(wide - left - 12, 20))
    return f"{paint(where.ljust(left), 'cyan')} {embedding.tokens:>8,}  {words}"

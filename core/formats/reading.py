"""The registry of readers: what a source is, and the document that reads it.

What is decided of a text from its first megabyte (encoding, kind, how a chat is written) holds for as long as the file
only grows; where the grown file would be taken for something else, that is reported and nothing is decided anew.
"""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass

from lindoc.core.documents import Decisions, Document, ReadReport
from lindoc.core.errors import DocumentError
from lindoc.core.formats.chat import ChatDocument, detect_chat
from lindoc.core.formats.code import CodeDocument
from lindoc.core.formats.decoding import TextFile
from lindoc.core.formats.pdf import PdfDocument
from lindoc.core.formats.sniff import HEAD, is_pdf, kind_by_content, kind_by_name
from lindoc.core.formats.sources import HASH_BLOCK, Source
from lindoc.core.formats.text import MarkdownDocument, TextDocument

READERS = {"text": TextDocument, "markdown": MarkdownDocument, "code": CodeDocument}


@dataclass(frozen=True, slots=True)
class Before:
    """A source as it was when it was last read."""

    size: int  # bytes
    sha256: str
    decisions: Decisions


def open_document(
    source: Source, *, password: str | None = None, encoding: str | None = None, before: Before | None = None
) -> Document:
    """Open a source as what its name and its first megabyte say it is. Raises DocumentError.

    password : for an encrypted PDF
    encoding : of a text; None tells it: byte order mark, UTF-8, then charset-normalizer
    before : if the source begins with what it was then, what was decided then holds
    """
    try:
        decided, reason = _decide(source, encoding), ""
    except DocumentError as error:
        if before is None or encoding is not None or not _has_grown(source, before):
            raise
        decided, reason = before.decisions, error.reason
    if before is None or decided == before.decisions or not _has_grown(source, before):
        kept = decided
    elif encoding is not None and decided.encoding != before.decisions.encoding:
        kept = decided  # the user says that it was read wrongly
    else:
        kept, reason = before.decisions, f"reads as {decided}"
    document = _open(source, kept, password)
    if before is not None and reason:
        document.report.warnings.append(
            f"line {_lines(source, before)}: with what follows it {reason}, but it was first read as {kept}, which is "
            "kept; 'lindoc forget' it to have that decided anew"
        )
    return document


def _decide(source: Source, encoding: str | None) -> Decisions:
    if is_pdf(source.head(HEAD)):
        return Decisions("pdf")
    if os.path.splitext(source.name)[1].lower() == ".pdf":
        raise DocumentError(source.name, "is named .pdf but is not a PDF; rename it if it is text")
    text = TextFile(source, encoding, ReadReport())
    beginning = text.head()
    if not beginning.strip() and len(beginning) < HEAD:
        raise DocumentError(source.name, "holds nothing but white space")
    kind = kind_by_name(source.name)
    if kind is None and (pattern := detect_chat(beginning)):
        return Decisions("chat", text.encoding, pattern)
    return Decisions(kind or kind_by_content(beginning), text.encoding)


def _open(source: Source, decisions: Decisions, password: str | None) -> Document:
    if decisions.kind == "pdf":
        document: Document = PdfDocument(source, password)
    else:
        text = TextFile(source, decisions.encoding, ReadReport())
        if decisions.kind == "chat":
            document = ChatDocument(source, text, decisions.pattern)
        else:
            document = READERS[decisions.kind](source, text)
    document.report.decisions = decisions
    return document


def _has_grown(source: Source, before: Before) -> bool:
    """Whether it begins with what it was then, and has nothing or something more."""
    return before.decisions.kind != "pdf" and source.begins_with(before.size, before.sha256)


def _lines(source: Source, before: Before) -> int:
    """The line on which it ended then."""
    decoder = codecs.getincrementaldecoder(before.decisions.encoding)("replace")
    left, lines = before.size, 1
    with source.opened() as handle:
        handle.seek(0)
        while left > 0 and (block := handle.read(min(left, HASH_BLOCK))):
            lines += decoder.decode(block).count("\n")
            left -= len(block)
    return lines

"""The registry of readers: what a source is, and the document that reads it."""

from __future__ import annotations

import os

from lindoc.core.documents import Document, ReadReport
from lindoc.core.errors import DocumentError
from lindoc.core.formats.chat import ChatDocument, detect_chat
from lindoc.core.formats.code import CodeDocument
from lindoc.core.formats.decoding import TextFile
from lindoc.core.formats.pdf import PdfDocument
from lindoc.core.formats.sniff import HEAD, is_pdf, kind_by_content, kind_by_name
from lindoc.core.formats.sources import Source
from lindoc.core.formats.text import MarkdownDocument, TextDocument

READERS = {"text": TextDocument, "markdown": MarkdownDocument, "code": CodeDocument}


def open_document(source: Source, *, password: str | None = None, encoding: str | None = None) -> Document:
    """Open a source as what its name and its first megabyte say it is. Raises DocumentError.

    password : for an encrypted PDF
    encoding : of a text; None tells it: byte order mark, UTF-8, then charset-normalizer
    """
    head = source.head(HEAD)
    if is_pdf(head):
        return PdfDocument(source, password)
    if os.path.splitext(source.name)[1].lower() == ".pdf":
        raise DocumentError(source.name, "is named .pdf but is not a PDF; rename it if it is text")
    text = TextFile(source, encoding, ReadReport())
    beginning = text.head()
    if not beginning.strip() and len(beginning) < HEAD:
        raise DocumentError(source.name, "holds nothing but white space")
    kind = kind_by_name(source.name)
    if kind is None and (pattern := detect_chat(beginning)):
        return ChatDocument(source, text, pattern)
    return READERS[kind or kind_by_content(beginning)](source, text)

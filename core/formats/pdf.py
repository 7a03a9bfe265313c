"""PDF: text page by page through pdfium, a page that fails there through pypdf, failures listed and survived."""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager

import pypdf
import pypdf.errors
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from lindoc.core.documents import Mark, Piece, ReadReport
from lindoc.core.errors import DocumentError
from lindoc.core.formats.decoding import Line
from lindoc.core.formats.paragraphs import SENTENCE_END, is_heading, paragraphs
from lindoc.core.formats.sniff import HEAD
from lindoc.core.formats.sources import Source
from lindoc.core.repair import repair

logging.getLogger("pypdf").addHandler(logging.NullHandler())  # its remarks are not lindoc's output

PAGE_BREAK = "\f"  # between pages in the canonical text
SCAN = 0.5  # share of pages without text from which the document is called a scan


class PdfDocument:
    kind = "pdf"

    def __init__(self, source: Source, password: str | None = None):
        self.name, self.source, self.password = source.name, source, password
        self.size, self.sha256 = source.fingerprint()
        self.report = ReadReport()
        self._starts = array("q", [0])  # of each page in the canonical text, as far as read; one more than pages
        with self._opened() as pdf:
            self.pages = len(pdf)
            if not self.pages:
                raise DocumentError(self.name, "is a PDF without pages")

    def pieces(self) -> Iterator[Piece]:
        bare = images = offset = 0
        flowing = False  # the last page ended inside a sentence
        self.report.failures.clear()
        with self._opened() as pdf:
            for index in range(self.pages):
                text, has_image = self._page(pdf, index)
                if not text.strip():
                    bare, images = bare + 1, images + has_image
                label = pdf.get_page_label(index) or None
                if index + 1 < self.pages:
                    text += PAGE_BREAK
                mark = Mark(offset, page=index + 1, page_label=label)
                yield from _page_pieces(text, mark, flowing)
                if text.strip():
                    flowing = SENTENCE_END.search(text.rstrip()) is None
                offset += len(text)
                if len(self._starts) == index + 1:
                    self._starts.append(offset)
        self._warn(bare, images)

    def read(self, start: int, end: int) -> str:
        """canonical[start:end], extracted again from the pages it lies on."""
        if end > self._starts[-1] and len(self._starts) <= self.pages:
            for _ in self.pieces():
                pass
        first = max(bisect_right(self._starts, start) - 1, 0)
        parts: list[str] = []
        with self._opened() as pdf:
            for index in range(first, self.pages):
                if self._starts[index] >= end:
                    break
                text, _ = self._page(pdf, index)
                parts.append(text + PAGE_BREAK if index + 1 < self.pages else text)
        base = self._starts[first]
        return "".join(parts)[start - base : end - base]

    def shown(self, text: str) -> str:
        return repair(text).text

    def _page(self, pdf: pdfium.PdfDocument, index: int) -> tuple[str, bool]:
        """Text of a page, empty if it cannot be had, and whether a page without text shows an image."""
        try:
            page = pdf[index]
            try:
                textpage = page.get_textpage()
                try:
                    text: str = textpage.get_text_range()
                finally:
                    textpage.close()
                scanned = not text.strip() and any(True for _ in page.get_objects([pdfium_c.FPDF_PAGEOBJ_IMAGE]))
            finally:
                page.close()
            return text.replace(PAGE_BREAK, " "), scanned
        except (pdfium.PdfiumError, UnicodeError, ValueError) as exc:
            return self._page_again(index, str(exc)), False

    def _page_again(self, index: int, reason: str) -> str:
        """The same page by pypdf; what fails there too is reported."""
        try:
            with self.source.opened() as handle:
                handle.seek(0)
                reader = pypdf.PdfReader(handle)
                if reader.is_encrypted:
                    reader.decrypt(self.password or "")
                return reader.pages[index].extract_text().replace(PAGE_BREAK, " ")
        except Exception as exc:  # a broken page breaks pypdf in many ways; the page is reported and the rest read
            failure = f"page {index + 1}: {reason.rstrip('.').lower()}; {str(exc) or type(exc).__name__}"
            if failure not in self.report.failures:
                self.report.failures.append(failure)
            return ""

    def _warn(self, bare: int, images: int) -> None:
        """Say once that a document has no text to read."""
        if self.report.warnings or bare < SCAN * self.pages or not bare:
            return
        what = "is a scan: no text" if images else "has no text"
        self.report.warnings.append(f"{what} on {bare} of {self.pages} pages" + ("; run OCR first" if images else ""))

    @contextmanager
    def _opened(self) -> Iterator[pdfium.PdfDocument]:
        with self.source.opened() as handle:
            handle.seek(0)
            if not handle.read(HEAD).strip():
                raise DocumentError(self.name, "is empty")
            handle.seek(0)
            try:
                pdf = pdfium.PdfDocument(handle, password=self.password)
            except pdfium.PdfiumError as exc:
                raise DocumentError(self.name, self._why(exc)) from exc
            try:
                yield pdf
            finally:
                pdf.close()

    def _why(self, exc: pdfium.PdfiumError) -> str:
        code = getattr(exc, "err_code", None)
        if code == pdfium_c.FPDF_ERR_SECURITY:
            return "is encrypted in a way that lindoc cannot open; save an unprotected copy"
        encrypted = code == pdfium_c.FPDF_ERR_PASSWORD
        try:
            with self.source.opened() as handle:
                handle.seek(0)
                reader = pypdf.PdfReader(handle, strict=False)
                encrypted = reader.is_encrypted  # pdfium's code may be that of an earlier document
                if not encrypted and not len(reader.pages):
                    return "is a PDF without pages"
        except pypdf.errors.DependencyError:  # a cipher only pdfium knows
            encrypted = True
        except Exception:  # pypdf breaks in many ways on a broken file
            encrypted = False
        if not encrypted:
            return "is not a readable PDF (truncated or damaged); download or export it again"
        if self.password is None:
            return "is encrypted; give its password with --password"
        return "is encrypted and the password does not open it; give another with --password"


def _page_pieces(text: str, mark: Mark, flowing: bool) -> Iterator[Piece]:
    first = True
    for paragraph in paragraphs(_lines(text)):
        start = mark.start + paragraph.start
        boundary = paragraph.boundary
        if first and not is_heading(paragraph.parts[0]):
            boundary = 0 if flowing else 1  # a new page alone is no border
        yield Piece(paragraph.text, Mark(start, page=mark.page, page_label=mark.page_label), boundary)
        first = False


def _lines(text: str) -> Iterator[Line]:
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        whole = line + "\n" if start + len(line) < len(text) else line
        if whole:
            yield Line(start, number, whole)
        start += len(whole)

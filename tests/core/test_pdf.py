"""PDF: text by page, repaired for reading only; encryption, scans, damage."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pypdf
import pypdfium2
import pytest
from pypdf.constants import PageLabelStyle

from lindoc.core.documents import Document, Segment
from lindoc.core.errors import DocumentError
from lindoc.core.formats import Source, open_document
from lindoc.core.formats.pdf import PdfDocument

Make = Callable[..., Document]
Lawful = Callable[..., list[Segment]]
MakePdf = Callable[[Sequence[str | None]], bytes]

CLAUSE = "The Supplier shall keep all records of the services for seven years\nafter the end of this Agreement."
PAGES = [f"{number}. RECORDS AND AUDIT\n" + "\n".join([CLAUSE] * 12) for number in range(1, 4)]


def _encrypted(data: bytes, *, user: str, owner: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(data))
    writer.encrypt(user, owner, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_every_character_is_read_once_and_found_again(document: Make, pdf: MakePdf, lawful: Lawful) -> None:
    opened = document("three.pdf", pdf(PAGES))
    found = lawful(opened)
    assert len(found) > 3
    assert "".join(piece.text for piece in opened.pieces()).count("\f") == 2


def test_the_page_is_that_of_the_quote_and_not_of_the_segment(document: Make, pdf: MakePdf, lawful: Lawful) -> None:
    opened = document("two.pdf", pdf(["The first page ends in the middle of", "a sentence that goes on here."]))
    (segment,) = lawful(opened)
    at = segment.text.index("goes on")
    place = segment.locate(opened.name, segment.start + at, segment.start + at + 7)
    assert (place.page, place.page_end) == (2, 2)
    assert opened.read(place.start, place.end) == "goes on"
    assert segment.locate(opened.name, segment.start, segment.end).page == 1


def test_reading_a_place_needs_no_earlier_pass(document: Make, pdf: MakePdf) -> None:
    opened = document("three.pdf", pdf(PAGES))
    text = "".join(piece.text for piece in opened.pieces())
    again = document("three.pdf", pdf(PAGES))
    assert again.read(len(text) - 20, len(text)) == text[-20:]


def test_page_labels_are_kept(pdf: MakePdf, document: Make) -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(PAGES)))
    writer.set_page_label(0, 1, style=PageLabelStyle.LOWERCASE_ROMAN)
    writer.set_page_label(2, 2, style=PageLabelStyle.DECIMAL, start=1)
    out = io.BytesIO()
    writer.write(out)
    labels = {piece.mark.page: piece.mark.page_label for piece in document("labels.pdf", out.getvalue()).pieces()}
    assert labels == {1: "i", 2: "ii", 3: "1"}


def test_a_broken_word_is_repaired_for_reading_but_quoted_as_it_stands(
    document: Make, pdf: MakePdf, lawful: Lawful
) -> None:
    opened = document("hyphen.pdf", pdf(["The indemnifi-\ncation of the parties."]))
    (segment,) = lawful(opened)
    assert "indemnification" in opened.shown(segment.text)
    assert "indemnification" not in segment.text


def test_a_scan_is_called_a_scan(document: Make, pdf: MakePdf) -> None:
    opened = document("scan.pdf", pdf([None, None]))
    list(opened.pieces())
    assert opened.report.warnings == ["is a scan: no text on 2 of 2 pages; run OCR first"]
    text = document("text.pdf", pdf(PAGES))
    list(text.pieces())
    assert text.report.warnings == []


def test_a_password_is_asked_for_and_tried(document: Make, pdf: MakePdf, lawful: Lawful) -> None:
    locked = _encrypted(pdf(PAGES), user="sesame", owner="root")
    with pytest.raises(DocumentError, match=r"locked\.pdf: is encrypted; give its password with --password"):
        document("locked.pdf", locked)
    with pytest.raises(DocumentError, match="the password does not open it"):
        document("locked.pdf", locked, password="wrong")
    lawful(document("locked.pdf", locked, password="sesame"))


def test_a_pdf_only_protected_against_change_opens_by_itself(document: Make, pdf: MakePdf, lawful: Lawful) -> None:
    assert lawful(document("owner.pdf", _encrypted(pdf(PAGES), user="", owner="root")))


def test_a_pdf_without_pages(document: Make, pdf: MakePdf) -> None:
    with pytest.raises(DocumentError, match="is a PDF without pages"):
        document("none.pdf", pdf([]))


def test_a_truncated_pdf(document: Make, pdf: MakePdf) -> None:
    with pytest.raises(DocumentError, match="truncated or damaged"):
        document("half.pdf", pdf(PAGES)[:200])


def test_a_text_named_pdf(document: Make) -> None:
    with pytest.raises(DocumentError, match="is not a PDF"):
        document("text.pdf", "just text")


def test_a_page_that_fails_is_read_by_pypdf(
    document: Make, pdf: MakePdf, lawful: Lawful, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = document("three.pdf", pdf(PAGES))
    _break_page(monkeypatch, 1)
    assert "2. RECORDS AND AUDIT" in "".join(segment.text for segment in lawful(opened))
    assert opened.report.failures == []


def test_a_page_that_fails_twice_is_reported_and_the_rest_is_read(
    document: Make, pdf: MakePdf, lawful: Lawful, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = document("three.pdf", pdf(PAGES))
    _break_page(monkeypatch, 1)

    def fails(self: pypdf.PageObject) -> str:
        raise KeyError("/Contents")

    monkeypatch.setattr(pypdf.PageObject, "extract_text", fails)
    pages = {segment.locate("", segment.start, segment.end).page for segment in lawful(opened)}
    assert pages >= {1, 3}
    assert len(opened.report.failures) == 1
    assert opened.report.failures[0].startswith("page 2: failed to load page")


def test_a_pdf_from_a_spooled_file(pdf: MakePdf) -> None:
    source = Source("-", None, io.BytesIO(pdf(PAGES)))
    opened = open_document(source)
    assert isinstance(opened, PdfDocument)
    text = "".join(piece.text for piece in opened.pieces())
    assert opened.read(10, 90) == text[10:90]


def test_an_empty_pdf(tmp_path: Path) -> None:
    (tmp_path / "empty.pdf").touch()
    with pytest.raises(DocumentError, match=r"empty\.pdf: is empty"):
        open_document(Source("empty.pdf", tmp_path / "empty.pdf"))


def _break_page(monkeypatch: pytest.MonkeyPatch, broken: int) -> None:
    get_page = pypdfium2.PdfDocument.get_page

    def fails(self: pypdfium2.PdfDocument, index: int) -> pypdfium2.PdfPage:
        if index == broken:
            raise pypdfium2.PdfiumError("Failed to load page.")
        return get_page(self, index)

    monkeypatch.setattr(pypdfium2.PdfDocument, "get_page", fails)
    monkeypatch.setattr(pypdfium2.PdfDocument, "__getitem__", fails)

"""Readers: a path to a document that streams its canonical text."""

from lindoc.core.formats.reading import open_document
from lindoc.core.formats.sources import Source, find_sources

__all__ = ["Source", "find_sources", "open_document"]

"""Vectors of a PDF's segments, streamed, and the two segments that are most alike: python embed_pdf.py [FILE.pdf]"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lindoc.core.formats import Source
from lindoc.core.pipeline import Library
from lindoc.core.store import Store
from lindoc.models.registry import load_encoder

CONTRACT = Path(__file__).with_name("contract.pdf")


def main(path: Path) -> None:
    encoder = load_encoder("lindoc-small")
    with Store.open(None, encoder=encoder) as store:  # None: nothing is kept
        embeddings = list(Library(encoder, store).embed([Source(path.name, path)]))
    for one in embeddings:
        print(f"page {one.locator.page}  {one.tokens:>3} tokens  {' '.join(one.text.split())[:70]}")
    vectors = np.stack([one.vector for one in embeddings])  # (segments, 384), L2-normalised
    likeness = vectors @ vectors.T - 2 * np.eye(len(vectors))  # cosine; a segment is not compared with itself
    first, second = np.unravel_index(int(likeness.argmax()), likeness.shape)
    print(f"most alike: segments {first} and {second}, cosine {likeness[first, second]:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CONTRACT)

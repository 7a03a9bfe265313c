"""Ask a repository, quote the place: python ask_repo.py ["QUESTION"] [DIR]"""

from __future__ import annotations

import sys
from pathlib import Path

from lindoc.core.errors import DocumentError
from lindoc.core.formats import find_sources
from lindoc.core.pipeline import Library
from lindoc.core.store import Store
from lindoc.models.registry import load_encoder

REPO = Path(__file__).with_name("repo")
QUESTION = "When is a delivery given up?"


def main(question: str, directory: Path) -> None:
    encoder = load_encoder("lindoc-small")
    with Store.open(None, encoder=encoder) as store:
        library = Library(encoder, store)
        found = find_sources([str(directory)], repo=True)
        count = library.read(source for source in found if not isinstance(source, DocumentError))
        answer = library.ask(question)
    print(f"{count} files read")
    print(answer.answer if answer.answerable else "not answered; nearest places:")
    for evidence in answer.evidence:
        where = evidence.locator
        print(f"  {where.document}, lines {where.line_start}-{where.line_end}: {' '.join(evidence.quote.split())}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else QUESTION, Path(sys.argv[2]) if len(sys.argv) > 2 else REPO)

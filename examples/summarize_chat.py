"""Five messages that say most of a chat log, and two that say most about one topic: python summarize_chat.py [FILE]"""

from __future__ import annotations

import sys
from pathlib import Path

from lindoc.core.formats import Source
from lindoc.core.pipeline import Library
from lindoc.core.store import Store
from lindoc.models.registry import load_encoder

CHAT = Path(__file__).with_name("chat.log")


def main(path: Path) -> None:
    encoder = load_encoder("lindoc-small")
    with Store.open(None, encoder=encoder) as store:
        library = Library(encoder, store)
        library.read([Source(path.name, path)])
        for title, sentences in (
            ("Summary", library.summarize(5)),
            ("About sharing a wireless connection", library.summarize(2, query="sharing a wireless connection")),
        ):
            print(title)
            for sentence in sentences:
                where = sentence.locator
                print(f"  message {where.message_start}, {where.time} <{where.speaker}> {sentence.text}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CHAT)

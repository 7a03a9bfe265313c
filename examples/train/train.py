"""Train lindoc-small: all objectives in every step, one packed forward and backward.

    python -m examples.train.train --data prepared.npz --minilm model.safetensors --out run --seconds 840

Objectives (design: what a reader of the whole document knows goes into every segment's vector)
1. corpus: carried segments learn MiniLM's embedding of "title. segment", first or reset ones of the bare segment
2. queries against all segments of the batch (InfoNCE, also on Matryoshka slices): weak corpus queries, SQuAD, CUAD,
   QMSum, evidence inference, CRD3
3. pairs without a document, STS-B train (CoSENT), short texts (MiniLM's own embedding)
4. reader: start, end and no-answer; salience of sentences
"""

from __future__ import annotations

import argparse
import collections
import queue
import threading
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from examples.train.batches import CLS, SEP, Batch, Sampler
from lindoc.models.lindoc_small.from_minilm import load_minilm, starts_fresh
from lindoc.models.lindoc_small.modeling import Packing

TEMPERATURE = 0.05
MASK, MASKED = 103, 0.1  # token id and share
SLICES = ((384, 1.0), (128, 0.3), (64, 0.3))  # Matryoshka sizes and weights


def place(windows: np.ndarray, flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Window table (N, 5) -> token ids, positions, window of each token (T,) and borders (N + 1,) on the device."""
    device = flat.device
    table = torch.from_numpy(windows).to(device, non_blocking=True)
    a, a_len, b, b_len, total = table.unbind(1)
    size = int(windows[:, 4].sum())
    borders = F.pad(total.cumsum(0), (1, 0))
    owner = torch.repeat_interleave(torch.arange(len(windows), device=device), total, output_size=size)
    p = torch.arange(size, device=device) - borders[owner]
    second = p - a_len[owner] - 2
    source = torch.where(second < 0, a[owner] + p - 1, b[owner] + second).clamp(0, len(flat) - 1)
    ids = flat[source].long()
    ids[p == 0] = CLS
    ids[(p == a_len[owner] + 1) | ((b_len[owner] > 0) & (second == b_len[owner]))] = SEP
    return ids, p, owner, borders


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
        self.dtype = torch.bfloat16
        self.arrays = dict(np.load(args.data))
        self.flat = torch.from_numpy(self.arrays.pop("flat").astype(np.int32)).to(self.device)
        self.sampler = Sampler(self.arrays, args.seed)
        self.model = load_minilm(args.minilm).to(self.device).eval()
        self.targets = self.teach()
        self.model.train()
        if args.init:
            self.model.load_state_dict({k: v.float() for k, v in load_file(args.init).items()})
        self.sampler.set_budgets()
        print("budgets", self.sampler.budgets, flush=True)
        memory = [p for n, p in self.model.named_parameters() if starts_fresh(n)]
        known = {id(p) for p in memory}
        body = [p for p in self.model.parameters() if id(p) not in known]
        self.rates = (args.rate, args.memory_rate)
        groups = [{"params": body, "lr": args.rate}, {"params": memory, "lr": args.memory_rate}]
        self.optimizer = torch.optim.AdamW(
            groups, betas=(0.9, 0.98), weight_decay=0.01, fused=self.device.type == "cuda"
        )
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
            for layer in self.model.layers:
                layer.project = torch.compile(layer.project, dynamic=False)  # type: ignore[method-assign]
                layer.finish = torch.compile(layer.finish, dynamic=False)  # type: ignore[method-assign]
                layer.memory.project = torch.compile(layer.memory.project, dynamic=False)
                layer.memory.read_out = torch.compile(layer.memory.read_out, dynamic=False)

    @torch.inference_mode()
    def teach(self) -> dict[str, torch.Tensor]:
        """MiniLM's embeddings of every corpus segment, bare and with its title, and of the short texts (fp16)."""
        start = time.time()
        segments, titles = self.arrays["corpus.segments"], self.arrays["corpus.titles"]
        counts = self.arrays["corpus.documents"][:, 1]
        title = titles[np.repeat(np.arange(len(counts)), counts)]
        bare = np.stack([*segments.T, 0 * segments[:, 0], 0 * segments[:, 0], segments[:, 1] + 2], 1)
        titled = np.stack([*title.T, *segments.T, title[:, 1] + segments[:, 1] + 3], 1)
        short = self.arrays["short.texts"]
        short_rows = np.stack([*short.T, 0 * short[:, 0], 0 * short[:, 0], short[:, 1] + 2], 1)
        targets = {"bare": self.embed(bare), "titled": self.embed(titled), "short": self.embed(short_rows)}
        cosine = (targets["bare"][:9999].float() * targets["titled"][:9999].float()).sum(-1).mean().item()
        print(f"teacher {len(segments)} segments {time.time() - start:.0f} s, bare·titled {cosine:.3f}", flush=True)
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
            with torch.autocast(self.device.type, self.dtype):
                hidden, _ = self.model(ids, packing, dtype=self.dtype)
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
        with torch.autocast(device.type, self.dtype):
            hidden, _ = self.model(ids, packing, dtype=self.dtype)
        e = pooled(hidden, owner, len(batch.windows))
        loss: dict[str, torch.Tensor] = {}
        segment = torch.from_numpy(batch.corpus_segment).to(device)
        present = (segment >= 0) & torch.from_numpy(batch.windows[groups["corpus"], 4] > 0).to(device)
        plain = torch.from_numpy(batch.plain).to(device)[present, None]
        chosen = segment[present]
        target = torch.where(plain, self.targets["bare"][chosen], self.targets["titled"][chosen]).float()
        mine = e[groups["corpus"]][present]
        loss["cos"] = 5 * (1 - (mine * target).sum(-1)).mean()
        loss["kl"] = similarity_kl(mine, target)
        live = torch.from_numpy(batch.windows[: batch.n_carried, 4] > 0).to(device)
        live[max(groups[g].stop for g in ("corpus", "squad", "other", "salience")) :] = False
        weight = torch.from_numpy(batch.query_weight).to(device)
        gold = torch.from_numpy(batch.gold).to(device)
        each = contrast(e[groups["queries"]], e[: batch.n_carried], gold, live)
        loss["query"] = (each * weight).sum() / 12
        loss["pair"] = 0.15 * self._pairs(e[groups["pair_queries"]], e[groups["pair_positives"]])
        loss["sts"] = 0.1 * self._cosent(e[groups["sts_a"]], e[groups["sts_b"]], batch.sts_score)
        short, short_target = (
            e[groups["short"]],
            self.targets["short"][torch.from_numpy(batch.short_index).to(device)].float(),
        )
        loss["short"] = 2 * (1 - (short * short_target).sum(-1)).mean() + 0.3 * similarity_kl(short, short_target)
        loss["answer"] = 1.0 * self._reader(hidden, borders, batch)
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

    def _reader(self, hidden: torch.Tensor, borders: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Start and end are each one softmax over the passage's tokens and the no-answer score read at [CLS]."""
        group = batch.groups["answers"]
        rows = torch.from_numpy(batch.windows[group]).to(hidden.device)
        want = torch.from_numpy(batch.answers).to(hidden.device)
        begins = borders[group.start : group.stop]
        width = int(batch.windows[group, 4].max())
        p = torch.arange(width, device=hidden.device)
        states = hidden[(begins[:, None] + p).clamp(max=len(hidden) - 1)].float()  # (Q, L, D)
        inside = (p >= want[:, 2:3]) & (p < rows[:, 4:5] - 1)
        logits = self.model.span(states).masked_fill(~inside[..., None], -1e4)
        null = self.model.no_answer(states[:, 0])  # (Q, 1)
        kept = rows[:, 4] > 0
        total = hidden.new_zeros((), dtype=torch.float32)
        for i in range(2):
            scores = torch.cat([null, logits[..., i]], 1)
            label = (want[:, i] + 1).clamp(min=0)
            total = total + F.cross_entropy(scores[kept], label[kept]) / 2
        return total

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

    def batches(self) -> queue.Queue[Batch | Exception]:
        """Batches drawn beside the training loop."""
        ready: queue.Queue[Batch | Exception] = queue.Queue(8)

        def work(seed: int) -> None:
            sampler = Sampler(self.arrays, seed, self.sampler.budgets)
            try:
                while True:
                    ready.put(sampler.batch())
            except Exception as error:
                ready.put(error)

        for i in range(2):
            threading.Thread(target=work, args=(self.args.seed + 1 + i,), daemon=True).start()
        return ready

    def run(self) -> None:
        ready, step, start, log = self.batches(), 0, 0.0, collections.defaultdict(list)
        args = self.args
        while True:
            if step == 8:
                start = time.time()
            done = (time.time() - start) / args.seconds if start else 0.0
            if done >= 1:
                break
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * min(1, (step + 1) / 200) * (1 - done)
            batch = ready.get()
            if isinstance(batch, Exception):
                raise batch
            losses = self.losses(batch)
            torch.stack(list(losses.values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            step += 1
            if step % 50 == 0 or step <= 2:
                for name, value in losses.items():
                    log[name].append(value.item())
            if step in (2, 50) or step % 250 == 0:
                text = " ".join(f"{k} {np.mean(v[-5:]):.3f}" for k, v in log.items())
                print(f"step {step} {done:.3f} {text}", flush=True)
            if step % 500 == 0:
                self.save()
        print(f"{step} steps in {time.time() - start:.0f} s", flush=True)
        self.save()

    def save(self) -> None:
        """Weights in fp16, written beside and renamed, so that a cut-off run leaves the last whole file."""
        self.args.out.mkdir(parents=True, exist_ok=True)
        beside = self.args.out / "model.part"
        save_file({k: v.half().contiguous() for k, v in self.model.state_dict().items()}, beside)
        beside.replace(self.args.out / "model.safetensors")


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

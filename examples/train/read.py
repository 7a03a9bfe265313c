"""Train the reader on a finished body: its low-rank update and the span and no-answer heads; nothing else changes.

    python -m examples.train.read --data prepared.npz --weights run/model.safetensors --out run --seconds 150

Start and end are each one softmax over the passage's tokens and the no-answer score read at [CLS]. Teachers, if any,
are readers whose whole body was trained (`--whole`) from MiniLM; the student also learns their mean distribution.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F

from examples.train.loop import background, train
from examples.train.packed import DTYPE, compile_layers, load, place, prepared
from examples.train.questions import Questions, QuestionSampler
from lindoc.models.lindoc_small.from_minilm import is_of_reader, load_minilm, starts_fresh
from lindoc.models.lindoc_small.modeling import Config, LindocSmall, Packing

TAUGHT = 1.0  # weight of the teachers' distribution beside the labels


def boundary_logits(model: LindocSmall, ids: torch.Tensor, packing: Packing, batch: Questions) -> torch.Tensor:
    """(N, 2, 1 + L) start and end logits: no answer first, then the window's tokens; -1e4 outside the passage."""
    with torch.autocast(ids.device.type, DTYPE):
        hidden, _ = model(ids, packing, reading=True, dtype=DTYPE)
    count, width = len(batch.answers), int(batch.windows[: len(batch.answers), 4].max())
    totals = torch.from_numpy(batch.windows[:count, 4:5]).to(ids.device)
    begins = torch.from_numpy(batch.answers[:, 2:3]).to(ids.device)
    p = torch.arange(width, device=ids.device)
    states = hidden[(packing.cu_seqlens[:count, None] + p).clamp(max=len(hidden) - 1)].float()  # (N, L, D)
    inside = (p >= begins) & (p < totals - 1)
    logits = model.span(states).masked_fill(~inside[..., None], -1e4)
    null = model.no_answer(states[:, 0])[..., None].expand(-1, 2, 1)
    return torch.cat([null, logits.transpose(1, 2)], 2)


class ReaderTrainer:
    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.arrays, self.flat = prepared(args.data, self.device)
        self.model = self.reader(args.weights) if args.weights else load_minilm(args.minilm).to(self.device)
        self.teachers = [self.reader(path).eval().requires_grad_(False) for path in args.teachers]
        self.model.train()

    def reader(self, path: Path) -> LindocSmall:
        model = LindocSmall(Config())
        load(model, path)
        if self.device.type == "cuda":
            compile_layers(model)
        return model.to(self.device)

    def losses(self, batch: Questions) -> dict[str, torch.Tensor]:
        ids, p, _, borders = place(batch.windows, self.flat)
        packing = Packing(p, borders.int(), borders[:1], 512, 0, 0, 0)
        scores = boundary_logits(self.model, ids, packing, batch).log_softmax(-1)
        label = (torch.from_numpy(batch.answers[:, :2]).to(self.device) + 1).clamp(min=0)
        loss = {"answer": -scores.gather(2, label[..., None]).mean()}
        if self.teachers:
            with torch.no_grad():
                taught = torch.stack(
                    [boundary_logits(one, ids, packing, batch).softmax(-1) for one in self.teachers]
                ).mean(0)
            loss["taught"] = TAUGHT * F.kl_div(scores, taught, reduction="sum") / scores[..., 0].numel()
        return loss

    def run(self) -> None:
        own, body = [], []
        for name, parameter in self.model.named_parameters():
            reads = is_of_reader(name)
            wanted = reads or (self.args.whole and not starts_fresh(name))
            parameter.requires_grad_(wanted)
            if wanted:
                (own if reads else body).append(parameter)
        rates = [(self.args.rate, own), *([(self.args.body_rate, body)] if body else [])]
        samplers = [QuestionSampler(self.arrays, self.args.seed + 1 + i) for i in range(2)]
        train(self.model, rates, self.losses, background([s.batch for s in samplers]), self.args.seconds, self.args.out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--weights", type=Path, help="of the finished body")
    start.add_argument("--minilm", type=Path, help="MiniLM's model.safetensors, for a teacher")
    parser.add_argument("--teachers", type=Path, nargs="*", default=[])
    parser.add_argument("--whole", action="store_true", help="train the body as well: a teacher, of no other use")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--body-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    ReaderTrainer(args).run()


if __name__ == "__main__":
    main()

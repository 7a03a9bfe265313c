"""The loop of a training run by the clock: warm-up, linear decay to zero, a log and the last weights kept."""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from examples.train.packed import save
from lindoc.models.lindoc_small.modeling import LindocSmall

B = TypeVar("B")
WARM_UP, KEPT_EVERY, LOG_EVERY, LOGGED = 200, 500, 250, 50  # steps
UNTIMED = 8  # first steps, in which kernels are compiled


def background(draws: Sequence[Callable[[], B]]) -> queue.Queue[B | Exception]:
    """Batches drawn beside the training loop, one thread for each of `draws`."""
    ready: queue.Queue[B | Exception] = queue.Queue(8)

    def work(draw: Callable[[], B]) -> None:
        try:
            while True:
                ready.put(draw())
        except Exception as error:
            ready.put(error)

    for draw in draws:
        threading.Thread(target=work, args=(draw,), daemon=True).start()
    return ready


def train(
    model: LindocSmall,
    rates: Sequence[tuple[float, list[torch.nn.Parameter]]],
    losses: Callable[[B], dict[str, torch.Tensor]],
    ready: queue.Queue[B | Exception],
    seconds: float,
    out: Path,
) -> None:
    """AdamW steps for `seconds`, each learning rate with its parameters; weights go to `out`."""
    groups = [{"params": parameters, "lr": rate} for rate, parameters in rates]
    on_gpu = next(model.parameters()).is_cuda
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=on_gpu)
    step, start, log = 0, 0.0, collections.defaultdict(list)
    while True:
        if step == UNTIMED:
            start = time.time()
        done = (time.time() - start) / seconds if start else 0.0
        if done >= 1:
            break
        for group, (rate, _) in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1, (step + 1) / WARM_UP) * (1 - done)
        batch = ready.get()
        if isinstance(batch, Exception):
            raise batch
        parts = losses(batch)
        torch.stack(list(parts.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_([p for _, group in rates for p in group], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % LOGGED == 0 or step <= 2:
            for name, value in parts.items():
                log[name].append(value.item())
        if step in (2, LOGGED) or step % LOG_EVERY == 0:
            text = " ".join(f"{name} {np.mean(values[-5:]):.3f}" for name, values in log.items())
            print(f"step {step} {done:.3f} {text}", flush=True)
        if step % KEPT_EVERY == 0:
            save(model, out)
    print(f"{step} steps in {time.time() - start:.0f} s", flush=True)
    save(model, out)

"""Windows of token ids on the device: what both trainers put through the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from examples.evaluate.runner import CLS, SEP
from lindoc.models.lindoc_small.modeling import LindocSmall

MASK = 103
WIDTH = 256
DTYPE = torch.bfloat16


def prepared(data: Path, device: torch.device) -> tuple[dict[str, np.ndarray], torch.Tensor]:
    """What `prepare` wrote: the index arrays, and all tokens on the device."""
    arrays = dict(np.load(data))
    return arrays, torch.from_numpy(arrays.pop("flat").astype(np.int32)).to(device)


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


def compile_layers(model: LindocSmall) -> None:
    """Fuse what has one fixed shape a run; the attention and the memory have kernels of their own."""
    torch.set_float32_matmul_precision("high")
    for layer in model.layers:
        layer.project = torch.compile(layer.project, dynamic=False)  # type: ignore[method-assign]
        layer.finish = torch.compile(layer.finish, dynamic=False)  # type: ignore[method-assign]
        layer.memory.project = torch.compile(layer.memory.project, dynamic=False)
        layer.memory.read_out = torch.compile(layer.memory.read_out, dynamic=False)


def load(model: LindocSmall, path: Path) -> None:
    """Weights of an earlier run; a reader that it lacks keeps its fresh start."""
    missing, unexpected = model.load_state_dict({k: v.float() for k, v in load_file(path).items()}, strict=False)
    wrong = [name for name in missing if ".reader." not in name]
    if wrong or unexpected:
        raise ValueError(f"{path}: missing {wrong}, unexpected {unexpected}")


def save(model: LindocSmall, folder: Path) -> None:
    """Weights in fp16, written beside and renamed, so that a cut-off run leaves the last whole file."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "model.part"
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, beside)
    beside.replace(folder / "model.safetensors")

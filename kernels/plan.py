"""How the Triton kernels cut a call up: sequences into segments, segments into chunks, channels into tiles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from lindoc.core.errors import KernelError
from lindoc.kernels.packing import sequences

MAX_KEY = 256  # key channels; a program holds all of them
SEGMENTS = 512  # programs that fill the largest GPU a few times over


@dataclass(frozen=True, slots=True)
class Pieces:
    """Consecutive pieces of packed sequences."""

    first: torch.Tensor  # (n,) first token
    end: torch.Tensor  # (n,) one past the last token
    chunk: torch.Tensor  # (n,) first chunk
    borders: torch.Tensor  # (N + 1,) pieces of each sequence


@dataclass(frozen=True, slots=True)
class Plan:
    """How the inputs of one call are cut and tiled."""

    segments: Pieces
    chunks: Pieces
    n_sequence: int
    n_head: int
    n_key: int
    n_value: int
    constants: dict[str, Any]  # of all kernels: C tokens a chunk, BK ≥ K, BV values a program, and number formats


def plan(q: torch.Tensor, v: torch.Tensor, cu_seqlens: torch.Tensor | None, size: int = 64) -> Plan:
    """Cut (B, T, …) into segments and chunks of up to `size` tokens, and choose tiles for K and V channels."""
    import triton.language as tl  # type: ignore[import-untyped]

    n_head, n_key, n_value = *q.shape[2:], v.shape[-1]
    if n_key > MAX_KEY:
        raise KernelError(f"backend 'triton' takes up to {MAX_KEY} key channels, not {n_key}; choose 'chunked'")
    size = max(16, size // (2 if n_key > 128 else 1) // (2 if q.dtype == torch.float32 else 1))  # shared memory
    lengths = tuple(part.stop - part.start for _, part in sequences(q, cu_seqlens))
    n_token = sum(lengths)
    wanted = max(1, SEGMENTS // n_head)  # segments
    chunks_each = max(4, _power_of_two(-(-n_token // (size * wanted))))
    wide = (n_token + size) * n_head * max(n_key, n_value) >= 2**31  # places of 32 bits spare registers
    constants = {
        "C": size,
        "BK": max(16, _power_of_two(n_key)),
        "BV": min(64, max(16, _power_of_two(n_value))),
        "STATE": tl.bfloat16 if q.dtype == torch.bfloat16 else tl.float32,
        "PRECISION": "tf32x3" if q.dtype == torch.float32 else "tf32",  # of fp32 operands
        "num_warps": 4 if n_key <= 64 else 8,
    }
    place = torch.int64 if wide else torch.int32
    segments, chunks = (_cut(lengths, n, size, place, q.device) for n in (size * chunks_each, size))
    return Plan(segments, chunks, len(lengths), n_head, n_key, n_value, constants)


def _power_of_two(n: int) -> int:
    """The next power of two from n on."""
    return 1 << max(0, n - 1).bit_length()


@lru_cache(maxsize=64)
def _cut(lengths: tuple[int, ...], size: int, chunk: int, place: torch.dtype, device: torch.device) -> Pieces:
    n_token = torch.tensor(lengths)  # (N,)
    counts = (n_token + size - 1) // size  # (N,)
    borders = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    start = n_token.cumsum(0) - n_token  # (N,) first token
    order = torch.arange(int(counts.sum())) - borders[:-1].repeat_interleave(counts)  # (n,) in its sequence
    first = start.repeat_interleave(counts) + order * size
    end = torch.minimum(first + size, (start + n_token).repeat_interleave(counts))
    chunks = (end - first + chunk - 1) // chunk
    tensors = (first, end, chunks.cumsum(0) - chunks, borders)
    return Pieces(*(x.to(place).to(device) for x in tensors))

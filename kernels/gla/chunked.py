"""Linear attention with a vector decay, chunk by chunk: products of halves inside, a state between; differentiable."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lindoc.kernels.packing import FORGOTTEN, Chunks, chunks, starting_state, state_dtype

CHUNK = 64  # tokens


def gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    *,
    scale: float,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Same contract as `reference.gla`; every exponent is a sum of log decays, so at most 0."""
    with torch.autocast(q.device.type, enabled=False):
        dtype = state_dtype(q)
        layout = chunks(q, cu_seqlens, CHUNK)
        initial = starting_state(initial_state, q, len(layout.longest_first), *q.shape[2:], v.shape[-1])
        wide_q, wide_k, wide_v = (layout.spread(x.to(dtype)) for x in (q, k, v))  # (n, H, C, K or V)
        written = layout.spread(g.to(dtype).clamp(min=FORGOTTEN)).cumsum(-2)  # (n, H, C, K)
        o, final = from_earlier(layout, wide_q, wide_k, wide_v, written, written, initial)
        o = o + (wide_q * wide_k).sum(-1, keepdim=True) * wide_v
        return layout.collect(scale * o).to(v.dtype), final if output_final_state else None


def from_earlier(
    layout: Chunks,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    read: torch.Tensor,
    written: torch.Tensor,
    initial: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each token reads of the tokens before it, and the final states (N, H, K, V).

    q, k, v : (n_chunk, H, C, K or V)
    read, written : (n_chunk, H, C, K) log decay from the chunk's start to a token's read and to its write
    """
    total = written[..., -1:, :]  # (n, H, 1, K)
    new = (k * (total - written).exp()).mT @ v  # (n, H, K, V)
    before, final = layout.carry(initial, lambda s, fade, new: fade * s + new, total.exp().mT, new)
    return (q * read.exp()) @ before + _inside(q, k, v, read, written), final


def _inside(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, read: torch.Tensor, written: torch.Tensor
) -> torch.Tensor:
    """The part from earlier tokens of the same chunk, by halves: the late half of every block reads its early half.

    Decays are taken to and from the border of the two, so both factors of the product are at most 1.
    """
    o = torch.zeros_like(v)
    half = v.shape[-2] // 2
    while half:
        halves = [x.unflatten(-2, (-1, 2, half)) for x in (q, k, v, read, written)]
        early_k, early_v, early_decay = (x[..., 0, :, :] for x in (halves[1], halves[2], halves[4]))
        late_q, late_decay = halves[0][..., 1, :, :], halves[3][..., 1, :, :]  # (n, H, blocks, half, K)
        border = early_decay[..., -1:, :]
        weights = (late_q * (late_decay - border).exp()) @ (early_k * (border - early_decay).exp()).mT
        part = (weights @ early_v)[..., None, :, :]  # (n, H, blocks, 1, half, V)
        o = o + F.pad(part, (0, 0, 0, 0, 1, 0)).flatten(-4, -2)
        half //= 2
    return o

"""RWKV-4's attention over all chunks at once, token by token, on any device, differentiable.

Same contract as `reference.wkv4`. The recurrence runs twice: once from the empty state, for what each chunk adds, and
again from the state before each chunk. That takes about 3 √T steps.
"""

from __future__ import annotations

from math import isqrt

import torch

from lindoc.kernels.packing import chunks
from lindoc.kernels.wkv4.reference import EMPTY, faded, joined, one_token, starting_sums


def wkv4(
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    *,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Same contract as `reference.wkv4`."""
    layout = chunks(k, cu_seqlens, 1 << isqrt(k.shape[1]).bit_length())
    start = starting_sums(initial_state, v, len(layout.longest_first))
    w, u = w.to(start.dtype), u.to(start.dtype)
    k_c, v_c = (layout.spread(x.to(start.dtype)) for x in (k, v))  # (n, C, L)
    filled = layout.spread(torch.ones_like(k[..., :1], dtype=start.dtype))  # (n, 1, L), zero after a sequence's end
    k_c = k_c.masked_fill(filled == 0, EMPTY)

    sums = starting_sums(None, v, layout.n_chunk)
    for t in range(layout.size):
        sums = joined(faded(sums, filled[..., t] * w), one_token(k_c[..., t], v_c[..., t]))
    added, whole = sums, filled.sum(-1) * w  # (n, 3, C), (n, C)
    sums, final = layout.carry(start, lambda before, whole, added: joined(faded(before, whole), added), whole, added)

    outputs = []
    for t in range(layout.size):
        p, q, _ = joined(sums, one_token(u + k_c[..., t], v_c[..., t])).unbind(-2)
        outputs.append(p / q)
        sums = joined(faded(sums, filled[..., t] * w), one_token(k_c[..., t], v_c[..., t]))
    return layout.collect(torch.stack(outputs, -1)).to(v.dtype), final if output_final_state else None

"""RWKV-6's time mixing, chunk by chunk: a vector decay read one token earlier, and the bonus; differentiable."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lindoc.kernels.gla.chunked import CHUNK, from_earlier
from lindoc.kernels.packing import FORGOTTEN, chunks, starting_state, state_dtype


def rwkv6(
    r: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    *,
    scale: float,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Same contract as `reference.rwkv6`; every exponent is a sum of log decays, so at most 0."""
    with torch.autocast(r.device.type, enabled=False):
        dtype = state_dtype(r)
        layout = chunks(r, cu_seqlens, CHUNK)
        initial = starting_state(initial_state, r, len(layout.longest_first), *r.shape[2:], v.shape[-1])
        wide_r, wide_k, wide_v = (layout.spread(x.to(dtype)) for x in (r, k, v))  # (n, H, C, K or V)
        written = layout.spread(w.to(dtype).clamp(min=FORGOTTEN)).cumsum(-2)  # (n, H, C, K)
        read = F.pad(written[..., :-1, :], (0, 0, 1, 0))  # a token reads before its own decay
        o, final = from_earlier(layout, wide_r, wide_k, wide_v, read, written, initial)
        bonus = (wide_r * u.to(dtype)[:, None, :] * wide_k).sum(-1, keepdim=True)  # (n, H, C, 1)
        o = o + bonus * wide_v
        return layout.collect(scale * o).to(v.dtype), final if output_final_state else None

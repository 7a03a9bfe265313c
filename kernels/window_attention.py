"""Softmax attention inside each window of a packed batch: no padding, both directions, no window sees another."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def window_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, cu_seqlens: torch.Tensor, max_seqlen: int
) -> torch.Tensor:
    """softmax(q kᵀ / √K) v within each window.

    q, k, v : (T, H, K) packed tokens; cu_seqlens : (N + 1,) int32 window borders; max_seqlen : tokens.
    Returns (T, H, K). CUDA in half precision uses FlashAttention's variable-length kernel (arXiv 2307.08691);
    elsewhere one scaled_dot_product_attention a window.
    """
    if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16):
        from torch.nn.attention.varlen import varlen_attn

        attended = varlen_attn(q, k, v, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen)
        assert isinstance(attended, torch.Tensor)
        return attended
    out = torch.empty_like(q)
    begin = 0
    for length in cu_seqlens.diff().tolist():
        window = slice(begin, begin + length)
        by_head = [x[window].transpose(0, 1)[None] for x in (q, k, v)]  # (1, H, T_n, K) each
        out[window] = F.scaled_dot_product_attention(by_head[0], by_head[1], by_head[2])[0].transpose(0, 1)
        begin += length
    return out

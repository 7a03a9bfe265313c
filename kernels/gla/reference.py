"""The equation of linear attention with a vector decay, one token after the other (fp64 for tests)."""

from __future__ import annotations

import torch

from lindoc.kernels.packing import sequences, starting_state, state_dtype


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
    """Gated linear attention [1]: every key channel fades at its own rate; HGRN2 [2] is the case k = 1 - exp(g).

        S_t = diag(exp(g_t)) S_{t-1} + k_t v_tᵀ
        o_t = scale · S_tᵀ q_t

    q, k : (B, T, H, K)
    v : (B, T, H, V)
    g : (B, T, H, K) log decay, at most 0
    initial_state : (N, H, K, V), one a sequence; None is zeros
    cu_seqlens : (N + 1,) token borders of the sequences packed into the only row; None: each row is one

    Returns o (B, T, H, V) in the dtype of v and, when asked for, the state after each sequence's last token.

    [1] arXiv 2312.06635; [2] arXiv 2404.07904.
    """
    dtype = state_dtype(q)
    parts = sequences(q, cu_seqlens)
    initial = starting_state(initial_state, q, len(parts), *q.shape[2:], v.shape[-1])
    wide = [x.to(dtype) for x in (q, k, v)]
    decay = g.to(dtype).exp()
    outputs, final = [], []
    for (row, tokens), s in zip(parts, initial, strict=True):  # s: (H, K, V)
        for t in range(tokens.start, tokens.stop):
            q_t, k_t, v_t = (x[row, t] for x in wide)
            s = decay[row, t][:, :, None] * s + k_t[:, :, None] * v_t[:, None, :]
            outputs.append(scale * torch.einsum("hk,hkv->hv", q_t, s))
        final.append(s)
    o = torch.stack(outputs).view(v.shape).to(v.dtype)
    return o, torch.stack(final) if output_final_state else None

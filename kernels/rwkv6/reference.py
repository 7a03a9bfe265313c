"""The equation of RWKV-6's time mixing, one token after the other (fp64 for tests)."""

from __future__ import annotations

import torch

from lindoc.kernels.packing import sequences, starting_state, state_dtype


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
    """RWKV-6 [1]: a vector decay that comes after the read, and a bonus u for the token itself.

        o_t = scale · (S_{t-1} + (u ⊙ k_t) v_tᵀ)ᵀ r_t
        S_t = diag(exp(w_t)) S_{t-1} + k_t v_tᵀ

    r, k : (B, T, H, K)
    v : (B, T, H, V)
    w : (B, T, H, K) log decay, at most 0
    u : (H, K)
    initial_state : (N, H, K, V), one a sequence; None is zeros
    cu_seqlens : (N + 1,) token borders of the sequences packed into the only row; None: each row is one

    Returns o (B, T, H, V) in the dtype of v and, when asked for, the state after each sequence's last token.

    [1] arXiv 2404.05892.
    """
    dtype = state_dtype(r)
    parts = sequences(r, cu_seqlens)
    initial = starting_state(initial_state, r, len(parts), *r.shape[2:], v.shape[-1])
    wide = [x.to(dtype) for x in (r, k, v)]
    decay, bonus = w.to(dtype).exp(), u.to(dtype)[:, :, None]
    outputs, final = [], []
    for (row, tokens), s in zip(parts, initial, strict=True):  # s: (H, K, V)
        for t in range(tokens.start, tokens.stop):
            r_t, k_t, v_t = (x[row, t] for x in wide)
            kv = k_t[:, :, None] * v_t[:, None, :]
            outputs.append(scale * torch.einsum("hk,hkv->hv", r_t, s + bonus * kv))
            s = decay[row, t][:, :, None] * s + kv
        final.append(s)
    o = torch.stack(outputs).view(v.shape).to(v.dtype)
    return o, torch.stack(final) if output_final_state else None

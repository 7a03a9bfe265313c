"""The equation of RWKV-7's state, one token after the other, in the precision of its inputs (fp64 for tests)."""

from __future__ import annotations

import torch

from lindoc.kernels.packing import sequences, starting_state


def rwkv7(
    r: torch.Tensor,
    w: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    scale: float = 1.0,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """RWKV-7 [1], the transpose of the paper's state:

        S_t = diag(exp w_t) S_{t-1} + b_t (S_{t-1}ᵀ a_t)ᵀ + k_t v_tᵀ
        o_t = scale · S_tᵀ r_t

    The model has a = −κ̂ and b = κ̂ ∘ (in-context learning rate), with κ̂ a key of unit length.

    r, k, a, b : (B, T, H, K)
    w : (B, T, H, K) log decay, at most 0
    v : (B, T, H, V)
    initial_state : (N, H, K, V); None is empty
    cu_seqlens : (N + 1,) borders of the sequences packed in a batch of one

    Returns o (B, T, H, V) and, when asked for, the state after each sequence (N, H, K, V).

    [1] arXiv 2503.14456.
    """
    spans = sequences(r, cu_seqlens)
    start = starting_state(initial_state, v, len(spans), *r.shape[2:], v.shape[-1])
    outputs, finals = [v.new_zeros(0, *v.shape[2:], dtype=start.dtype)], []
    for state, (row, tokens) in zip(start, spans, strict=True):
        for t in range(tokens.start, tokens.stop):
            r_t, w_t, k_t, v_t, a_t, b_t = (x[row, t].to(start.dtype) for x in (r, w, k, v, a, b))
            read = torch.einsum("hkv,hk->hv", state, a_t)
            state = w_t.exp()[..., None] * state + b_t[..., None] * read[:, None] + k_t[..., None] * v_t[:, None]
            outputs.append(scale * torch.einsum("hkv,hk->hv", state, r_t)[None])
        finals.append(state)
    o = torch.cat(outputs).view_as(v).to(v.dtype)
    return o, torch.stack(finals) if output_final_state else None

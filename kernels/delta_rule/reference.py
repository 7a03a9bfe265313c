"""The equation of the delta rule, one token after the other, in the precision of its inputs (fp64 for tests)."""

from __future__ import annotations

import torch

from lindoc.kernels.packing import sequences, starting_state


def delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    beta: torch.Tensor,
    *,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """DeltaNet [1]:

        S_t = S_{t-1} + β_t k_t (v_t − S_{t-1}ᵀ k_t)ᵀ
        o_t = scale · S_tᵀ q_t

    q, k : (B, T, H, K); the keys have unit length, or the state may grow without bound
    v : (B, T, H, V)
    beta : (B, T, H) write strength, in [0, 1] or [0, 2]
    scale : K^-0.5 if None
    initial_state : (N, H, K, V); None is empty
    cu_seqlens : (N + 1,) borders of the sequences packed in a batch of one

    Returns o (B, T, H, V) and, when asked for, the state after each sequence (N, H, K, V).

    [1] arXiv 2406.06484.
    """
    n_head, key_dim = q.shape[2:]
    scale = key_dim**-0.5 if scale is None else scale
    spans = sequences(q, cu_seqlens)
    start = starting_state(initial_state, v, len(spans), n_head, key_dim, v.shape[-1])
    outputs, finals = [v.new_zeros(0, *v.shape[2:], dtype=start.dtype)], []
    for state, (row, tokens) in zip(start, spans, strict=True):
        for t in range(tokens.start, tokens.stop):
            q_t, k_t, v_t, beta_t = (x[row, t].to(start.dtype) for x in (q, k, v, beta))
            error = v_t - torch.einsum("hkv,hk->hv", state, k_t)
            state = state + torch.einsum("h,hk,hv->hkv", beta_t, k_t, error)
            outputs.append(scale * torch.einsum("hkv,hk->hv", state, q_t)[None])
        finals.append(state)
    o = torch.cat(outputs).view_as(v).to(v.dtype)
    return o, torch.stack(finals) if output_final_state else None

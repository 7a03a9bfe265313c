"""The equation of the selective scan, one token after the other, in the precision of its inputs (fp64 for tests)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lindoc.kernels.packing import sequences, starting_state


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    delta_softplus: bool = False,
    *,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Mamba [1], in every channel d:

        h_t = exp(Δ_t A) ∘ h_{t-1} + Δ_t u_t B_t
        y_t = (C_t·h_t + D u_t) · silu(z_t)                  Δ_t = delta_t, or softplus(delta_t + delta_bias)

    u, delta, z : (B, T, D); without z there is no gate
    A : (D, N), negative
    B, C : (B, T, N)
    D, delta_bias : (D,)
    initial_state : (N_seq, D, N); None is zero
    cu_seqlens : (N_seq + 1,) borders of the sequences packed in a batch of one

    Returns y (B, T, D) and, when asked for, the state after each sequence (N_seq, D, N).

    [1] arXiv 2312.00752, algorithm 2.
    """
    spans = sequences(u, cu_seqlens)
    start = starting_state(initial_state, u, len(spans), *A.shape)
    step = step_size(delta.to(start.dtype), delta_bias, delta_softplus)
    outputs, finals = [u.new_zeros(0, u.shape[2], dtype=start.dtype)], []
    for state, (row, tokens) in zip(start, spans, strict=True):
        for t in range(tokens.start, tokens.stop):
            u_t, b_t, c_t, step_t = (x[row, t].to(start.dtype) for x in (u, B, C, step))
            decay = (step_t[:, None] * A.to(start.dtype)).exp()
            state = decay * state + (step_t * u_t)[:, None] * b_t
            outputs.append((state @ c_t)[None])
        finals.append(state)
    y = gated(torch.cat(outputs).view_as(u), u, D, z)
    return y, torch.stack(finals) if output_final_state else None


def step_size(delta: torch.Tensor, delta_bias: torch.Tensor | None, delta_softplus: bool) -> torch.Tensor:
    """Δ of every token, in the precision of delta (B, T, D)."""
    if delta_bias is not None:
        delta = delta + delta_bias.to(delta.dtype)
    return F.softplus(delta) if delta_softplus else delta


def gated(y: torch.Tensor, u: torch.Tensor, D: torch.Tensor | None, z: torch.Tensor | None) -> torch.Tensor:
    """(y + D u) · silu(z), in the precision of u (B, T, D)."""
    if D is not None:
        y = y + D.to(y.dtype) * u.to(y.dtype)
    if z is not None:
        y = y * F.silu(z.to(y.dtype))
    return y.to(u.dtype)

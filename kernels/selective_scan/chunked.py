"""The selective scan over all chunks at once, token by token, on any device, differentiable.

Same contract as `reference.selective_scan`. The recurrence runs twice: once from zero, for what each chunk adds to the
state, and again from the state before each chunk. That takes about 3 √T steps, keeps one state a chunk instead of one
a token, and multiplies nothing but decays.
"""

from __future__ import annotations

from math import isqrt

import torch

from lindoc.kernels.packing import chunks, starting_state
from lindoc.kernels.selective_scan.reference import gated, step_size


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
    """Same contract as `reference.selective_scan`."""
    layout = chunks(u, cu_seqlens, 1 << isqrt(u.shape[1]).bit_length())
    start = starting_state(initial_state, u, len(layout.longest_first), *A.shape)
    step = layout.spread(step_size(delta.to(start.dtype), delta_bias, delta_softplus))  # (n, D, L)
    u_c, b_c, c_c = (layout.spread(x.to(start.dtype)) for x in (u, B, C))  # (n, D, L), (n, N, L)
    log_decay = A.to(start.dtype)

    state = start.new_zeros(layout.n_chunk, *A.shape)
    for t in range(layout.size):
        state = _next(state, step[..., t], log_decay, u_c[..., t], b_c[..., t])
    added, whole = state, (step.sum(-1)[..., None] * log_decay).exp()  # (n, D, N)
    state, final = layout.carry(start, lambda before, whole, added: whole * before + added, whole, added)

    outputs = []
    for t in range(layout.size):
        state = _next(state, step[..., t], log_decay, u_c[..., t], b_c[..., t])
        outputs.append((state @ c_c[..., t, None])[..., 0])  # (n, D)
    y = layout.collect(torch.stack(outputs, -1))
    return gated(y, u, D, z), final if output_final_state else None


def _next(
    state: torch.Tensor, step: torch.Tensor, log_decay: torch.Tensor, u: torch.Tensor, b: torch.Tensor
) -> torch.Tensor:
    """One token of every chunk: state (n, D, N), step and u (n, D), b (n, N)."""
    return (step[..., None] * log_decay).exp() * state + (step * u)[..., None] * b[:, None]

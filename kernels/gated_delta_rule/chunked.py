"""The gated delta rule as matrix products over chunks, on any device, differentiable.

Same contract as `reference.gated_delta_rule`. With c the log decay summed from the start of the chunk and S the state
before it, the tokens of a chunk add U to the state, where (the WY form of arXiv 2412.06464)

    (I + A) U = diag(β) (V − diag(exp c) K S),    A_ts = β_t exp(c_t − c_s) k_t·k_s  for s < t
"""

from __future__ import annotations

import torch

from lindoc.kernels.packing import FORGOTTEN, chunks, starting_state

CHUNK = 64  # tokens


def gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    *,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Same contract as `reference.gated_delta_rule`."""
    n_head, key_dim, value_dim = *k.shape[2:], v.shape[-1]
    scale = key_dim**-0.5 if scale is None else scale
    layout = chunks(q, cu_seqlens, CHUNK)
    start = starting_state(initial_state, v, len(layout.longest_first), n_head, key_dim, value_dim)
    wide = [layout.spread(x.to(start.dtype)) for x in (q, k, v, g, beta)]
    q_c, k_c, v_c, c, strength = *wide[:3], wide[3].clamp(min=FORGOTTEN).cumsum(-1), wide[4][..., None]  # (n, H, C, …)

    decay = pair_decay(c)  # (n, H, C, C)
    into = c.exp()[..., None]  # (n, H, C, 1) from the start of the chunk to each token
    a = (strength * (k_c @ k_c.mT) * decay).tril(-1)
    right = strength * torch.cat([v_c, into * k_c], -1)
    u, w = torch.linalg.solve_triangular(a, right, upper=False, unitriangular=True).split([value_dim, key_dim], -1)
    leaving = (k_c * (c[..., -1:] - c).exp()[..., None]).mT  # (n, H, K, C) keys faded to the end of the chunk
    whole = into[..., -1:, :]  # (n, H, 1, 1)

    def advance(state: torch.Tensor, *chunk: torch.Tensor) -> torch.Tensor:
        whole, leaving, u, w = chunk
        return whole * state + leaving @ (u - w @ state)

    before, final = layout.carry(start, advance, whole, leaving, u, w)
    o = (q_c * into) @ before + (q_c @ k_c.mT * decay) @ (u - w @ before)
    return layout.collect(scale * o).to(v.dtype), final if output_final_state else None


def pair_decay(c: torch.Tensor) -> torch.Tensor:
    """exp(c_t − c_s) for s ≤ t, else 0: (…, C) -> (…, C, C)."""
    later = torch.ones(c.shape[-1], c.shape[-1], dtype=torch.bool, device=c.device).triu(1)
    return (c[..., :, None] - c[..., None, :]).masked_fill(later, -torch.inf).exp()

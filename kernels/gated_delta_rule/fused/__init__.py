"""The gated delta rule in Triton, forward and backward; same contract as `reference.gated_delta_rule`."""

from __future__ import annotations

from typing import Any

import torch

from lindoc.kernels.fused import Plan, plan, summed
from lindoc.kernels.gated_delta_rule.fused.backward import carry_back, read_back, solve_back
from lindoc.kernels.gated_delta_rule.fused.forward import carry, read, solve
from lindoc.kernels.packing import FORGOTTEN, starting_state

__all__ = ["gated_delta_rule"]


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
    scale = k.shape[-1] ** -0.5 if scale is None else scale
    cut = plan(q, v, cu_seqlens)
    if initial_state is not None:
        initial_state = starting_state(initial_state, v, cut.n_sequence, *k.shape[2:], v.shape[-1])
    o, final = _GatedDeltaRule.apply(  # type: ignore[no-untyped-call]
        q, k.to(q.dtype), v.to(q.dtype), g, beta, initial_state, scale, cut
    )
    return o.to(v.dtype), final if output_final_state else None


class _GatedDeltaRule(torch.autograd.Function):
    """The states are made again in the backward pass, from the inverse of each chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        g: torch.Tensor,
        beta: torch.Tensor,
        initial: torch.Tensor | None,
        scale: float,
        cut: Plan,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        q, k, v, g, beta = (x.contiguous() for x in (q, k, v, g, beta))
        initial = None if initial is None else initial.contiguous()
        c = summed(g, cut)
        inverse, u, w = solve(k, v, c, beta, cut)
        new, before, final = carry(k, u, w, c, initial, cut)
        ctx.save_for_backward(q, k, v, g, beta, initial, c, inverse)
        ctx.scale, ctx.cut = scale, cut
        return read(q, k, new, c, before, scale, cut), final

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_o: torch.Tensor, d_final: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, g, beta, initial, c, inverse = ctx.saved_tensors
        d_o, d_final, scale, cut = d_o.contiguous(), d_final.contiguous(), ctx.scale, ctx.cut
        _, u, w = solve(k, v, c, beta, cut, inverse)
        new, before, _ = carry(k, u, w, c, initial, cut)
        d_new, d_after, d_initial = carry_back(q, k, w, c, d_o, d_final, scale, cut)
        d_q, d_k, d_c = read_back(q, k, new, c, before, d_o, scale, cut)
        d_v, d_g, d_beta = solve_back((k, v, c, beta), (inverse, new, before), d_new, d_after, d_k, d_c, cut)
        d_g = d_g.masked_fill(g <= FORGOTTEN, 0).to(g.dtype)
        return d_q, d_k, d_v, d_g, d_beta, None if initial is None else d_initial, None, None

"""RWKV-7 in Triton, forward and backward; same contract as `reference.rwkv7`."""

from __future__ import annotations

from typing import Any

import torch

from lindoc.kernels.fused import Plan, plan, summed
from lindoc.kernels.packing import FORGOTTEN, starting_state
from lindoc.kernels.rwkv7.fused.backward import carry_back, pairs_back, solve_back
from lindoc.kernels.rwkv7.fused.forward import Inputs, Pairs, carry, pairs, read, solve, state_type

__all__ = ["rwkv7"]

CHUNK = 32  # tokens


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
    """Same contract as `reference.rwkv7`."""
    cut = plan(r, v, cu_seqlens, CHUNK)
    if initial_state is not None:
        initial_state = starting_state(initial_state, v, cut.n_sequence, *r.shape[2:], v.shape[-1])
    inputs = (r, *(x.to(r.dtype) for x in (k, v, a, b)))
    o, final = _RWKV7.apply(*inputs, w, initial_state, scale, cut)  # type: ignore[no-untyped-call]
    return o.to(v.dtype), final if output_final_state else None


class _RWKV7(torch.autograd.Function):
    """The states are made again in the backward pass, from the pairs of each chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        r: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        w: torch.Tensor,
        initial: torch.Tensor | None,
        scale: float,
        cut: Plan,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r, k, v, a, b = (y.contiguous() for y in (r, k, v, a, b))
        x = Inputs(r, k, v, a, b, summed(w, cut))
        initial = None if initial is None else initial.contiguous()
        p = pairs(x, cut)
        old, before, final = carry(x, *solve(x, p, cut), initial, cut)
        ctx.save_for_backward(*x, *p, w, initial)
        ctx.scale, ctx.cut = scale, cut
        return read(x, p, old, before, scale, cut), final

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_o: torch.Tensor, d_final: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        *saved, w, initial = ctx.saved_tensors
        x, p, cut = Inputs(*saved[:6]), Pairs(*saved[6:]), ctx.cut
        u, reads = solve(x, p, cut)
        old, before, _ = carry(x, u, reads, initial, cut)
        d_o = (d_o * ctx.scale).to(state_type(cut)).contiguous()
        d_old, d_after, d_initial = carry_back(x, p, reads, d_o, d_final.contiguous(), cut)
        d_pairs, d_x = solve_back(x, p, (old, before), (d_old, d_after), d_o, cut)
        pairs_back(x, d_pairs, d_x, cut)
        d_w = d_x.c.masked_fill(w <= FORGOTTEN, 0).to(w.dtype)
        return d_x.r, d_x.k, d_x.v, d_x.a, d_x.b, d_w, None if initial is None else d_initial, None, None

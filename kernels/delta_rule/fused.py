"""The delta rule in Triton: the gated delta rule that forgets nothing."""

from __future__ import annotations

import torch

from lindoc.kernels.gated_delta_rule import fused


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
    """Same contract as `reference.delta_rule`."""
    return fused.gated_delta_rule(
        q,
        k,
        v,
        torch.zeros_like(beta),
        beta,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        cu_seqlens=cu_seqlens,
    )

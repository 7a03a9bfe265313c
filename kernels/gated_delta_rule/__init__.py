"""The gated delta rule (Gated DeltaNet): the state fades, and every key replaces the value held for it."""

from __future__ import annotations

import torch

from lindoc.kernels.backend import Operator, chosen, lazy
from lindoc.kernels.gated_delta_rule import chunked, reference

__all__ = ["BACKENDS", "gated_delta_rule"]

BACKENDS: dict[str, Operator] = {
    "reference": reference.gated_delta_rule,
    "chunked": chunked.gated_delta_rule,
    "triton": lazy("lindoc.kernels.gated_delta_rule.fused", "gated_delta_rule"),
}


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
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Linear attention with decay and the delta rule (equation and shapes in `reference.gated_delta_rule`).

    Raises KernelError for an unknown or unavailable backend.
    """
    run = chosen(BACKENDS, backend, q)
    with torch.autocast(q.device.type, enabled=False):
        o, final = run(
            q,
            k,
            v,
            g,
            beta,
            scale=scale,
            initial_state=initial_state,
            output_final_state=output_final_state,
            cu_seqlens=cu_seqlens,
        )
    return o, final

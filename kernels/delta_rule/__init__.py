"""The delta rule (DeltaNet): every key replaces the value that the state holds for it."""

from __future__ import annotations

import torch

from lindoc.kernels.backend import Operator, chosen, lazy
from lindoc.kernels.delta_rule import chunked, reference

__all__ = ["BACKENDS", "delta_rule"]

BACKENDS: dict[str, Operator] = {
    "reference": reference.delta_rule,
    "chunked": chunked.delta_rule,
    "triton": lazy("lindoc.kernels.delta_rule.fused", "delta_rule"),
}


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
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Linear attention with the delta rule (equation and shapes in `reference.delta_rule`).

    Raises KernelError for an unknown or unavailable backend.
    """
    run = chosen(BACKENDS, backend, q)
    with torch.autocast(q.device.type, enabled=False):
        o, final = run(
            q,
            k,
            v,
            beta,
            scale=scale,
            initial_state=initial_state,
            output_final_state=output_final_state,
            cu_seqlens=cu_seqlens,
        )
    return o, final

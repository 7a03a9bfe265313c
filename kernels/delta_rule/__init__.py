"""The delta rule (DeltaNet): every key replaces the value that the state holds for it."""

from __future__ import annotations

from typing import Any

import torch

from lindoc.kernels.backend import Operator, chosen
from lindoc.kernels.delta_rule import reference
from lindoc.kernels.gated_delta_rule import BACKENDS as GATED

__all__ = ["BACKENDS", "delta_rule"]


def _ungated(run: Operator) -> Operator:
    """The delta rule is the gated one that forgets nothing."""

    def call(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, beta: torch.Tensor, **options: Any) -> Any:
        return run(q, k, v, torch.zeros_like(beta), beta, **options)

    return call


BACKENDS: dict[str, Operator] = {
    "reference": reference.delta_rule,
    "chunked": _ungated(GATED["chunked"]),
    "triton": _ungated(GATED["triton"]),
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

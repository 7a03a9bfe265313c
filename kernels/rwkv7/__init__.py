"""RWKV-7's generalised delta rule: the state moves by a diagonal plus a rank-one matrix."""

from __future__ import annotations

import torch

from lindoc.kernels.backend import Operator, chosen, lazy
from lindoc.kernels.rwkv7 import chunked, reference

__all__ = ["BACKENDS", "rwkv7"]

BACKENDS: dict[str, Operator] = {
    "reference": reference.rwkv7,
    "chunked": chunked.rwkv7,
    "triton": lazy("lindoc.kernels.rwkv7.fused", "rwkv7"),
}


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
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Linear attention with RWKV-7's state evolution (equation and shapes in `reference.rwkv7`).

    Raises KernelError for an unknown or unavailable backend.
    """
    run = chosen(BACKENDS, backend, r)
    with torch.autocast(r.device.type, enabled=False):
        o, final = run(
            r,
            w,
            k,
            v,
            a,
            b,
            scale=scale,
            initial_state=initial_state,
            output_final_state=output_final_state,
            cu_seqlens=cu_seqlens,
        )
    return o, final

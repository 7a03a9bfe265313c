"""RWKV-4's attention: an exponential moving average weighted by exponentials of the keys."""

from __future__ import annotations

import torch

from lindoc.kernels.backend import Operator, chosen, lazy
from lindoc.kernels.wkv4 import chunked, reference

__all__ = ["BACKENDS", "wkv4"]

BACKENDS: dict[str, Operator] = {
    "reference": reference.wkv4,
    "chunked": chunked.wkv4,
    "triton": lazy("lindoc.kernels.wkv4.fused", "wkv4"),
}


def wkv4(
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    *,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The WKV operator of RWKV-4 (equation and shapes in `reference.wkv4`).

    Raises KernelError for an unknown or unavailable backend.
    """
    run = chosen(BACKENDS, backend, k)
    with torch.autocast(k.device.type, enabled=False):
        o, final = run(
            k,
            v,
            w,
            u,
            initial_state=initial_state,
            output_final_state=output_final_state,
            cu_seqlens=cu_seqlens,
        )
    return o, final

"""RWKV-6's time mixing: a vector decay after the read, and a bonus for the token itself."""

from __future__ import annotations

import torch

from lindoc.kernels.backend import chosen, lazy
from lindoc.kernels.rwkv6 import chunked, reference

__all__ = ["BACKENDS", "rwkv6"]

BACKENDS = {
    "reference": reference.rwkv6,
    "chunked": chunked.rwkv6,
    "triton": lazy("lindoc.kernels.rwkv6.fused", "rwkv6"),
}


def rwkv6(
    r: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    *,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """RWKV-6 (equation and shapes in `reference.rwkv6`).

    scale : of r; None is K^-0.5, RWKV's own models use 1
    backend : "auto", "reference", "chunked" or "triton"
    """
    return chosen(BACKENDS, backend, r)(  # type: ignore[no-any-return]
        r,
        k,
        v,
        w,
        u,
        scale=r.shape[-1] ** -0.5 if scale is None else scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        cu_seqlens=cu_seqlens,
    )

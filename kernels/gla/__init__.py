"""Linear attention with a vector decay: gated linear attention, HGRN2."""

from __future__ import annotations

import torch

from lindoc.kernels.backend import chosen, lazy
from lindoc.kernels.gla import chunked, reference

__all__ = ["BACKENDS", "gla"]

BACKENDS = {
    "reference": reference.gla,
    "chunked": chunked.gla,
    "triton": lazy("lindoc.kernels.gla.fused", "gla"),
}


def gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    *,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Causal linear attention with a decay of its own for every key channel (equation and shapes in `reference.gla`).

    scale : of q; None is K^-0.5
    backend : "auto", "reference", "chunked" or "triton"
    """
    return chosen(BACKENDS, backend, q)(  # type: ignore[no-any-return]
        q,
        k,
        v,
        g,
        scale=q.shape[-1] ** -0.5 if scale is None else scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        cu_seqlens=cu_seqlens,
    )

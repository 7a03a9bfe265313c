"""Linear attention with a scalar decay a head and token: RetNet, Lightning attention, Mamba-2."""

from __future__ import annotations

import torch

from lindoc.core.errors import KernelError
from lindoc.kernels.backend import chosen, lazy
from lindoc.kernels.simple_gla import chunked, reference

__all__ = ["BACKENDS", "simple_gla"]

BACKENDS = {
    "reference": reference.simple_gla,
    "chunked": chunked.simple_gla,
    "triton": lazy("lindoc.kernels.simple_gla.fused", "simple_gla"),
}


def simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor | None = None,
    g_gamma: torch.Tensor | None = None,
    *,
    scale: float | None = None,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Causal linear attention with a scalar decay (equation and shapes in `reference.simple_gla`).

    g : (B, T, H) log decay of each token; or g_gamma : (H,) one for all tokens of a head; neither: nothing fades
    scale : of q; None is K^-0.5
    backend : "auto", "reference", "chunked" or "triton"
    """
    if g is not None and g_gamma is not None:
        raise KernelError("simple_gla takes g (a decay a token) or g_gamma (a decay a head), not both")
    if g is None:
        g = q.new_zeros(q.shape[:3]) if g_gamma is None else g_gamma.expand(q.shape[:3])
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

"""The selective scan (Mamba): every channel is a small linear system whose step size depends on the token."""

from __future__ import annotations

import torch

from lindoc.kernels.backend import Operator, chosen, lazy
from lindoc.kernels.selective_scan import chunked, reference

__all__ = ["BACKENDS", "selective_scan"]

BACKENDS: dict[str, Operator] = {
    "reference": reference.selective_scan,
    "chunked": chunked.selective_scan,
    "triton": lazy("lindoc.kernels.selective_scan.fused", "selective_scan"),
}


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    delta_softplus: bool = False,
    *,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Mamba's selective state space (equation and shapes in `reference.selective_scan`).

    Raises KernelError for an unknown or unavailable backend.
    """
    run = chosen(BACKENDS, backend, u)
    with torch.autocast(u.device.type, enabled=False):
        y, final = run(
            u,
            delta,
            A,
            B,
            C,
            D,
            z,
            delta_bias,
            delta_softplus,
            initial_state=initial_state,
            output_final_state=output_final_state,
            cu_seqlens=cu_seqlens,
        )
    return y, final

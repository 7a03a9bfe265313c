"""RWKV-6's time mixing in Triton: the vector decay of `gla` read one token earlier, and the bonus."""

from __future__ import annotations

import torch

from lindoc.kernels.gla.fused import vector_decay


def rwkv6(
    r: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    *,
    scale: float,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Same contract as `reference.rwkv6`, up to 256 key channels."""
    return vector_decay(r, k, v, w, u, scale, initial_state, output_final_state, cu_seqlens)

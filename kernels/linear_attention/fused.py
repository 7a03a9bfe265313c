"""Linear attention in Triton: `simple_gla` without a decay, read in fp32, with a column for the normaliser."""

from __future__ import annotations

import torch

from lindoc.kernels.linear_attention.chunked import State, through
from lindoc.kernels.simple_gla import fused


def linear_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float,
    normalize: bool = True,
    initial_state: State | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, State | None]:
    """Same contract as `reference.linear_attention`, up to 256 features."""
    aligned = 16  # values: rows that start at multiples of 16 bytes are loaded in vectors
    return through(fused.simple_gla, q, k, v, scale, normalize, initial_state, output_final_state, cu_seqlens, aligned)
